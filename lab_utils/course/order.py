"""An answer that is right but for the order of its results: values that stand in each other's place."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from lab_utils.course.attempt import run_cases
from lab_utils.course.calls import Watch
from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import Case, Exercise, Parts
from lab_utils.course.judgement import Difference
from lab_utils.course.usual_state import usual_state

MOST = 4  # values whose orders are tried: of five there are 120
EXCHANGED = " are in each other's place: each is what the other one should be."
PLACES = ("first", "second", "third", "fourth")


def say_exchanged(
    expected: Sequence[Parts], given: Sequence[Parts | None], number: int, tolerance: float
) -> str:
    """That two parts of the case of this number stand in each other's place, in every case that has them; or nothing.

    `expected` and `given` hold the judged cases.
    """
    right, got = expected[number], given[number]
    if got is None or list(got) != list(right):
        return ""
    found = _find_exchanged(right, got, tolerance)
    if found is None:
        return ""
    for should, is_ in zip(expected, given, strict=True):
        if list(should) == list(right) and not (
            is_ is not None and list(is_) == list(should) and _are_exchanged(should, is_, *found, tolerance)
        ):
            return ""
    return f"{found[0]} and {found[1]}{EXCHANGED}"


def is_exchanged(difference: Difference | None) -> bool:
    """Whether a difference says of two parts that they are exchanged."""
    return difference is not None and difference.says.endswith(EXCHANGED)


def _find_exchanged(right: Parts, got: Parts, tolerance: float) -> tuple[str, str] | None:
    """Two parts of which each is what the other one should be; None where no two are."""
    wrong = [name for name in right if explain_difference(right[name], got[name], tolerance)]
    for one, other in itertools.combinations([name for name in wrong if not name.startswith("gradient")], 2):
        if _are_exchanged(right, got, one, other, tolerance):
            return one, other
    return None


def _are_exchanged(right: Parts, got: Parts, one: str, other: str, tolerance: float) -> bool:
    return not (
        explain_difference(right[one], got[other], tolerance)
        or explain_difference(right[other], got[one], tolerance)
    )


def say_order(
    exercise: Exercise,
    cases: Sequence[Case],
    expected: Sequence[Parts],
    answer: Callable,
    number: int,
    seconds: float,
) -> str:
    """That the answer returns the right values in another order, as a sentence; empty where no order is right.

    `cases` are the judged ones. An order is tried on that of this number, which fails, and then on all. Values of
    different kinds are found so too, which no comparison of parts could read.
    """
    methods = _tuples_of(exercise, cases[number])
    n = len(next(iter(methods.values()), ()))
    if not 1 < n <= MOST:
        return ""
    methods = {name: value for name, value in methods.items() if len(value) == n}
    end, found = time.monotonic() + seconds, []

    def put(order: tuple[int, ...], method: str, value: Any) -> Any:
        if method not in methods or not isinstance(value, tuple) or len(value) != n:
            return value
        found.append(method)
        values = [value[place] for place in order]
        return type(value)(*values) if hasattr(value, "_fields") else tuple(values)

    def is_right(order: tuple[int, ...], numbers: Sequence[int]) -> bool:
        put_in_order = Watch(change=functools.partial(put, order)).of(answer)
        attempt = run_cases(exercise, [cases[i] for i in numbers], put_in_order, seconds)
        return not attempt.why and all(
            _is_right(expected[i], outcome.parts, exercise.tolerance)
            for i, outcome in zip(numbers, attempt.outcomes, strict=True)
        )

    for order in list(itertools.permutations(range(n)))[1:]:
        if is_right(order, [number]) and is_right(order, range(len(cases))):
            fields = getattr(methods[found[0]], "_fields", ())
            return _say(list(methods), list(fields), order)
        if not found or time.monotonic() > end:  # it returns no such tuple, or is slow
            break
    return ""


def _tuples_of(exercise: Exercise, case: Case) -> dict[str, tuple]:
    """The tuples that the core returns for a case, by the method; that of a plain function is ""."""
    found: dict[str, tuple] = {}

    def note(method: str, value: Any) -> Any:
        if isinstance(value, tuple):
            found.setdefault(method, value)
        return value

    with usual_state():
        exercise.observe(Watch(change=note).of(exercise.core), *case.fresh_args())
    return found


def _is_right(expected: Parts, got: Parts | None, tolerance: float) -> bool:
    return (
        got is not None
        and list(got) == list(expected)
        and not any(explain_difference(expected[name], got[name], tolerance) for name in expected)
    )


def _say(methods: list[str], fields: list[str], order: tuple[int, ...]) -> str:
    """The sentence: right place i should hold what the answer has at place order[i]."""
    who = " and ".join(methods) or "it"
    returns = f"{who} {'return' if len(methods) > 1 else 'returns'}"
    moved = [place for place, of in enumerate(order) if place != of]
    if len(moved) > 2:
        names = [f"`{name}`" for name in fields] or PLACES
        found = ", ".join(names[order.index(place)] for place in range(len(order)))
        return f"The values that {returns} are right on every input, but they stand in the order {found}."
    one, other = (fields or PLACES)[moved[0]], (fields or PLACES)[moved[1]]
    two = (
        f"`{one}` and `{other}`, which {returns},"
        if fields
        else f"The {one} and the {other} value that {returns}"
    )
    return f"{two} are in each other's place: exchanged, they are right on every input."
