"""What an answer gives: a learner's code is run on every case of its exercise, on a thread, with a limit of time.

Whether that is right, `judge` decides.
"""

from __future__ import annotations

import functools
import inspect
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.anonymous import anonymous
from lab_utils.course.calls import Watch
from lab_utils.course.differences import equal_tensors, explain_kinds
from lab_utils.course.exercise import TEST, Case, Exercise, Parts, Problem
from lab_utils.course.own_lines import is_begun, place_of
from lab_utils.course.relations.arguments import argument_names, name_arguments
from lab_utils.course.usual_state import device_kept, functions_kept, process_kept, usual_state
from lab_utils.show.words import kind_of, value_or_kind
from nanokimi.system.deadline import TimeOver, call_within

SECONDS = 10.0  # for one answer, all its cases together
DAY = 86_400  # the longest that may be asked for
NOT_TRIED, BEGUN, NO_END = "not tried", "begun", "no end"
NO_WORDS = "(it says no more)"  # of an error without a text
STUB = f"It raises NotImplementedError: {NO_WORDS}"  # torch says more, for what it cannot do
LONGEST_ERROR = 300  # letters of what an error says
RUNS = 3  # of a test with each piece that counts in a bug hunt


@dataclass(frozen=True)
class Outcome:
    """What an answer gave for one case: its parts, or a sentence that says why there are none.

    `place` is the line of the learner's own where it raised an error; `begun`: more than a stub raised it.
    """

    parts: Parts | None
    problem: str = ""
    place: str = ""
    begun: bool = False


@dataclass(frozen=True)
class Attempt:
    """What an answer gave for every case, in their order. Without outcomes `why` is one of three words."""

    outcomes: tuple[Outcome, ...]
    why: str = ""


def run_cases(
    exercise: Exercise, cases: Sequence[Case], answer: Callable, seconds: float = SECONDS
) -> Attempt:
    """What the answer gives. All cases together may take `seconds`, in a bug hunt three times that."""
    if wrong := _explain_kind(exercise, answer):
        return Attempt(tuple(Outcome(None, wrong) for _ in cases))
    run = functools.partial(_run_all, exercise, answer, cases)
    order = [*range(len(cases))]
    if exercise.is_hunt:
        SystemRandom().shuffle(order)
        asked = [_seal(cases[number]) for number in order]
        run = functools.partial(_run_hunt, exercise, answer, asked)
    try:
        # A new thread begins with gradients, and the rest of the state comes back even if the answer never ends.
        with usual_state(), functions_kept(), process_kept():
            outcomes = call_within(limit(exercise, seconds), run, interrupt=True)
    except TimeoutError:
        return Attempt((), NO_END)
    outcomes = [outcomes[order.index(number)] for number in range(len(cases))]
    if outcomes and outcomes[0].problem == STUB:
        return Attempt((), BEGUN if outcomes[0].begun else NOT_TRIED)
    return Attempt(tuple(outcomes))


def _explain_kind(exercise: Exercise, answer: Any) -> str:
    """Why the answer cannot be what is asked for, whatever it computes; empty where it can."""
    wanted = "class" if isinstance(exercise.core, type) else "function"
    if not callable(answer):
        return f"It is {kind_of(answer)}; it should be a {wanted}."
    if wanted == "function" and isinstance(answer, type):
        return "It is a class; it should be a function."
    if inspect.iscoroutinefunction(answer):
        return "It is written with `async def`; it should be a plain `def`."
    return ""


def allow_seconds(seconds: Any) -> float:
    """A limit of time, above 0 and at most a day. Raises a `ValueError`."""
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= DAY:
        return float(seconds)
    raise ValueError(
        f"seconds must be a number above 0 and at most {DAY} (a day), such as seconds={SECONDS:g}, "
        f"not {value_or_kind(seconds)}"
    )


def limit(exercise: Exercise, seconds: float) -> float:
    return seconds * RUNS if exercise.is_hunt else seconds


def _run_all(exercise: Exercise, answer: Callable, cases: Sequence[Case]) -> list[Outcome]:
    return [_run_answer(exercise, answer, case) for case in cases]


def _seal(case: Case) -> list[Case]:
    """The case for each of its runs, without what tells which piece it holds: a test may walk through the frames.

    Each run has a piece of its own, which may keep what it has seen.
    """
    copies = [case.fresh_args() for _ in range(RUNS if case.judged else 1)]
    return [Case("", (anonymous(piece), *more), judged=case.judged) for piece, *more in copies]


def _run_hunt(exercise: Exercise, test: Callable, cases: Sequence[list[Case]]) -> list[Outcome]:
    """What a test says of each piece. It meets those that count several times, all in an order drawn anew.

    So it gains nothing by counting its calls or by remembering pieces. Each time it begins with the usual state, and
    with random numbers that are the same for all pieces.
    """
    runs = [(seed, number) for number, same in enumerate(cases) for seed in range(len(same))]
    SystemRandom().shuffle(runs)
    # One run of each piece that counts comes first: who begins late lets a broken one through once, and not again.
    runs.sort(key=lambda run: run[0] > 0 or not cases[run[1]][0].judged)
    found: dict[tuple[int, int], Outcome] = {}
    for seed, number in runs:
        # What it prints would stand there once for each run, in an order that nobody knows: the first run's is enough.
        silent = redirect_stdout(io.StringIO()) if found else nullcontext()
        with usual_state(seed), functions_kept(), silent:
            found[seed, number] = _run_answer(exercise, test, cases[number][seed])
    return [
        _join_runs([found[seed, number] for seed in range(len(same))]) for number, same in enumerate(cases)
    ]


def _join_runs(outcomes: list[Outcome]) -> Outcome:
    """The outcome that all runs with one piece share; the test "changes" where they share none."""
    first = outcomes[0]
    return first if all(each.parts == first.parts for each in outcomes) else Outcome({TEST: "changes"})


def _run_answer(exercise: Exercise, answer: Callable, case: Case) -> Outcome:
    """The outcome of one case, on a thread of its own: a KeyboardInterrupt there comes from the answer itself."""
    try:
        with process_kept():
            return run_case(exercise, answer, case)
    except KeyboardInterrupt as error:
        return Outcome(None, _say_raised(error), place_of(error))


def run_case(exercise: Exercise, implementation: Callable, case: Case) -> Outcome:
    """The outcome of one case."""
    args, untouched = case.fresh_args(), case.fresh_args()
    try:
        with process_kept():  # what the answer has exchanged must not meet the questions below
            parts = _observe(exercise, implementation, args)
    except (TimeOver, KeyboardInterrupt):
        raise
    except Problem as problem:
        changed = _say_changed(exercise, untouched, args, (list, dict))
        return Outcome(None, changed or name_arguments(exercise, str(problem)))
    except BaseException as error:
        # A changed list may be what makes the next call fail; a tensor is written into on the way to many an error.
        if changed := _say_changed(exercise, untouched, args, (list, dict)):
            return Outcome(None, changed)
        # Whatever the learner's code raises, sys.exit() included, is the finding; our traceback would not help.
        return _explain_error(exercise, implementation, case, error)
    changed = _say_changed(exercise, untouched, args, (Tensor, list, dict))
    return Outcome(None, changed) if changed else Outcome(parts)


def _say_changed(exercise: Exercise, before: tuple, after: tuple, kinds: tuple[type, ...]) -> str:
    """Which argument of one of these kinds the answer has changed, as a sentence; empty where there is none."""
    if exercise.writes_into_arguments:
        return ""
    names = argument_names(exercise)
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if isinstance(old, kinds) and not _is_as_it_was(old, new):
            name = f"`{names[number]}`" if number < len(names) else f"argument {number + 1}"
            verb = "writes into" if isinstance(old, Tensor) else f"changes the {type(old).__name__}"
            return f"It {verb} {name}, which belongs to the caller."
    return ""


def _is_as_it_was(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and equal_tensors(before, after, 0.0)
    if isinstance(before, dict):
        return list(before) == list(after) and all(_is_as_it_was(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(_is_as_it_was, before, after))
    return not isinstance(before, int | float | str) or before is after or before == after or before != before


def _observe(exercise: Exercise, implementation: Callable, args: tuple) -> Parts:
    """The parts, in classes that nobody but Python and torch wrote: no comparison asks the learner's."""
    asked = _alone(implementation) if inspect.isfunction(implementation) else implementation
    return {str(name): _plain(part) for name, part in exercise.observe(asked, *args).items()}


def _alone(function: Callable) -> Callable:
    """The function, after which new tensors are made where they were before: its result is read so."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with device_kept():
            return function(*args, **kwargs)

    return call


_AS_BASE = {int: int.__index__, float: float.__float__, str: str.__str__}


def _plain(value: Any) -> Any:
    kind = type(value)
    if issubclass(kind, Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            return value.detach() if kind is Tensor else value.detach().as_subclass(Tensor)
    if issubclass(kind, list):
        return [_plain(each) for each in list.__iter__(value)]
    for base in (bool, int, float, str):  # a float of numpy's is a child of Python's
        if issubclass(kind, base):
            return value if kind is base else _AS_BASE[base](value)
    return value


def _explain_error(exercise: Exercise, implementation: Callable, case: Case, error: BaseException) -> Outcome:
    """What an error says of the answer. One that comes from reading what the answer returned says what that is.

    A second run tells the two apart: only in that one the answer is watched.
    """
    raised = Outcome(None, _say_raised(error), place_of(error), is_begun(error))
    if exercise.is_hunt or raised.problem == STUB:
        return raised
    watch, wanted = Watch(), Watch()
    try:
        with process_kept():
            _observe(exercise, watch.of(implementation), case.fresh_args())
    except (TimeOver, KeyboardInterrupt):
        raise
    except BaseException as again:
        if watch.raised is again or not watch.n_returned:
            return raised
        exercise.observe(wanted.of(exercise.core), *case.fresh_args())
        kinds = explain_kinds(wanted.returned, watch.returned, watch.method)
        return Outcome(None, kinds or f"What it gives cannot be used: {_name(error)}")
    return raised


def _say_raised(error: BaseException) -> str:
    return f"It raises {_name(error)}"


def _name(error: BaseException) -> str:
    try:
        lines = str(error).splitlines()
    except Exception:  # an error of the learner's own, whose text raises
        lines = []
    says = lines[0] if lines else ""
    if len(says) > LONGEST_ERROR:
        says = says[:LONGEST_ERROR].rpartition(" ")[0] or says[:LONGEST_ERROR]
        says += " ..."
    return f"{type(error).__name__}: {says or NO_WORDS}"
