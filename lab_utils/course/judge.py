"""check(your_function): run it against the core on small inputs, and name the mistake where it is a known one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Exercise, Mistake, Parts, Problem
from lab_utils.course.judgement import CheckResult, Difference
from nanokimi.deadline import TimeOver, call_within

SECONDS = 10.0  # for one check, all its cases together


@dataclass(frozen=True)
class Outcome:
    """What an answer gave for one case: its parts, or a sentence that says why there are none."""

    parts: Parts | None
    problem: str = ""


def judge(exercise: Exercise, answer: Callable, seconds: float = SECONDS) -> CheckResult:
    """The judgement alone. All cases share `seconds`."""
    cases = exercise.cases()
    n_judged = sum(case.judged for case in cases)
    try:
        got = call_within(
            seconds, lambda: [_outcome(exercise, answer, case) for case in cases], interrupt=True
        )
    except NotImplementedError:
        return CheckResult(exercise, "not tried", n_judged)
    except TimeoutError:
        slow = Difference(
            "", f"It did not come to an end within {seconds:g} seconds. Is there a loop without end?"
        )
        return CheckResult(exercise, "failed", n_judged, slow)
    for case, outcome in zip(cases, got, strict=True):
        if not case.judged:
            continue
        expected = _outcome(exercise, exercise.core, case)
        assert expected.parts is not None, f"{exercise.name}, {case.says}: {expected.problem}"
        difference = _difference(case, expected.parts, outcome, exercise.tolerance)
        if difference is not None:
            return CheckResult(
                exercise,
                "failed",
                n_judged,
                difference,
                violated=_violated(exercise, case, outcome),
                diagnosis=_diagnose(exercise, cases, got)
                or _diagnose_apart_from_dtype(exercise, cases, got, case),
            )
    return CheckResult(exercise, "passed", n_judged)


def _outcome(exercise: Exercise, answer: Callable, case: Case) -> Outcome:
    """Run one case. Only a stub that nobody has touched lets its NotImplementedError through."""
    args, untouched = case.fresh_args(), case.fresh_args()
    try:
        parts = exercise.observe(answer, *args)
    except (NotImplementedError, TimeOver, KeyboardInterrupt):
        raise
    except Problem as problem:
        return Outcome(None, str(problem))
    except BaseException as error:
        # Whatever the learner's code raises, sys.exit() included, is the finding; no traceback of ours would help.
        return Outcome(None, f"It raises {type(error).__name__}: {_first_line(error)}")
    if not exercise.writes_into_arguments:
        for number, (after, before) in enumerate(zip(args, untouched, strict=True), 1):
            if isinstance(after, Tensor) and not _same(before, after, 0.0):
                return Outcome(
                    None, f"It writes into its argument number {number}, which belongs to the caller."
                )
    return Outcome({name: _detached(part) for name, part in parts.items()})


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else "(it says no more)"


def _detached(part: Any) -> Any:
    return part.detach() if isinstance(part, Tensor) else part


def _difference(case: Case, expected: Parts, outcome: Outcome, tolerance: float) -> Difference | None:
    """The first way in which an outcome is not what it should be."""
    if outcome.parts is None:
        return Difference(case.says, outcome.problem)
    if list(outcome.parts) != list(expected):
        says = f"It returns {_listed(outcome.parts)}; it should return {_listed(expected)}."
        return Difference(case.says, says)
    for name, right in expected.items():
        says = unlike(right, outcome.parts[name], tolerance)
        if says:
            return Difference(case.says, says, name, right, outcome.parts[name])
    return None


def _listed(parts: Parts) -> str:
    return ", ".join(parts) if len(parts) > 1 else f"one {type(next(iter(parts.values()), None)).__name__}"


def unlike(right: Any, got: Any, tolerance: float) -> str:
    """Why `got` is not `right`, as a sentence; empty where it is."""
    if isinstance(right, Tensor):
        if not isinstance(got, Tensor):
            return f"It is a {type(got).__name__}; it should be a tensor."
        if got.shape != right.shape:
            return f"Its shape is {tuple(got.shape)}; it should be {tuple(right.shape)}."
        if got.dtype != right.dtype:
            return f"Its numbers are {_dtype(got)}; they should be {_dtype(right)}."
        if right.isfinite().all() and not got.isfinite().all():
            return "It holds numbers that are not finite (nan or inf)."
        return "" if _same(right, got, tolerance) else _where_they_differ(right, got, tolerance)
    if isinstance(right, list):
        if not isinstance(got, list):
            return f"It is a {type(got).__name__}; it should be a list."
        if len(right) != len(got):
            return f"It has {len(got)} entries; it should have {len(right)}."
        return next((why for pair in zip(right, got) if (why := unlike(*pair, tolerance))), "")
    if isinstance(right, str) and isinstance(got, str):
        return "" if right == got else f"It is {got!r}; it should be {right!r}."
    if isinstance(right, bool | str) or not isinstance(right, int | float):
        return "" if type(right) is type(got) and right == got else "It is not what it should be."
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"It is a {type(got).__name__}; it should be a Python number."
    near = math.isclose(right, got, rel_tol=tolerance, abs_tol=tolerance)
    return "" if near else f"It is {got:.4g}; it should be {right:.4g}."


def _same(right: Tensor, got: Tensor, tolerance: float) -> bool:
    return torch.allclose(_wide(got), _wide(right), rtol=tolerance, atol=tolerance, equal_nan=True)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _where_they_differ(right: Tensor, got: Tensor, tolerance: float) -> str:
    wrong = ~torch.isclose(_wide(got), _wide(right), rtol=tolerance, atol=tolerance, equal_nan=True)
    share = f"{int(wrong.sum())} of {wrong.numel()} entries differ"
    if right.ndim == 0:
        return f"It is {_number(got)}; it should be {_number(right)}."
    place = tuple(wrong.nonzero()[0].tolist())
    return f"{share}, the first at {list(place)}: {_number(got[place])} instead of {_number(right[place])}."


def _number(value: Tensor) -> str:
    number = value.item()
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def _violated(exercise: Exercise, case: Case, outcome: Outcome) -> tuple[str, ...]:
    """The properties that the outcome lacks; one that cannot even be asked of it counts as lacking."""
    if outcome.parts is None:
        return ()
    lacking = []
    for each in exercise.properties:
        try:
            holds = each.holds(outcome.parts, *case.fresh_args())
        except Exception:
            holds = False
        if not holds:
            lacking.append(each.says)
    return tuple(lacking)


def _diagnose(exercise: Exercise, cases: list[Case], got: list[Outcome]) -> Mistake | None:
    """The known mistake that gives the same outcome for every case, if there is one."""
    for known in exercise.mistakes:
        if all(
            _alike(_outcome(exercise, known.wrong, case), mine, exercise.tolerance)
            for case, mine in zip(cases, got)
        ):
            return known
    return None


def _diagnose_apart_from_dtype(
    exercise: Exercise, cases: list[Case], got: list[Outcome], failed: Case
) -> Mistake | None:
    """The same without the bfloat16 inputs, for an answer that makes a known mistake and forgets bfloat16 as well."""
    plain = [(case, mine) for case, mine in zip(cases, got) if not _has_bfloat16(case)]
    if len(plain) == len(cases) or _has_bfloat16(failed):
        return None
    return _diagnose(exercise, *map(list, zip(*plain)))


def _has_bfloat16(case: Case) -> bool:
    return any(isinstance(arg, Tensor) and arg.dtype == torch.bfloat16 for arg in case.args)


def _alike(one: Outcome, other: Outcome, tolerance: float) -> bool:
    if one.parts is None or other.parts is None:
        return one.parts is other.parts and one.problem == other.problem
    return list(one.parts) == list(other.parts) and not any(
        unlike(one.parts[name], other.parts[name], tolerance) for name in one.parts
    )
