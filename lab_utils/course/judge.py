"""The one judge of answers: it compares with the core on small inputs, and names the mistake where it is a known one.

`check` asks it in a notebook, `grade` for a class.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from lab_utils.course.agreement import accept_alike, agree
from lab_utils.course.attempt import (
    BEGUN,
    NO_END,
    NOT_TRIED,
    SECONDS,
    Attempt,
    Outcome,
    limit,
    run_case,
    run_cases,
)
from lab_utils.course.differences import explain_difference
from lab_utils.course.doubles import tell_doubles
from lab_utils.course.exercise import REFUSED, TEST, Case, Exercise, Mistake, Parts
from lab_utils.course.formats import (
    ROOM_FOR_BFLOAT16,
    formats_of,
    has_bfloat16,
    is_rare,
    like,
    say_formats_met,
    widen,
)
from lab_utils.course.hunting import look_at_test
from lab_utils.course.inputs import by_size
from lab_utils.course.judgement import CheckResult, Difference, inside
from lab_utils.course.kept import CHANGES, say_what_is_kept, sizes_of_what_is_kept
from lab_utils.course.order import is_exchanged, say_exchanged, say_order
from lab_utils.course.relations.arguments import name_arguments
from lab_utils.course.relations.relate import relate
from lab_utils.course.relations.standins import StandIns
from lab_utils.course.second_look import find_sound, still_alike
from lab_utils.course.shown import choose_shown
from lab_utils.course.usual_state import usual_state

NO_VERDICT = "It comes to no verdict on any piece by which it is judged, the sound ones included."


class AnswerKey:
    """The cases of an exercise, and what the core and the known mistakes give for them.

    Each outcome is computed when it is first needed, and kept: one key serves all answers to the exercise.
    """

    def __init__(self, exercise: Exercise):
        self.exercise = exercise
        with usual_state():
            self.cases = exercise.cases()
        judged = [number for number, case in enumerate(self.cases) if case.judged]
        # A hunt begins with the notebook's piece; elsewhere the smallest input teaches most, and bfloat16 least.
        sizes = [(has_bfloat16(case), by_size(case.args)) for case in self.cases]
        self.order = judged if exercise.is_hunt else sorted(judged, key=sizes.__getitem__)
        self._outcomes: dict[tuple[Callable, int], Outcome] = {}

    @functools.cached_property
    def stand_ins(self) -> StandIns:
        """What the core gives for other arguments."""
        return StandIns(self.exercise, self.cases)

    def expected(self, number: int) -> Parts:
        """The core's parts for the case of this number."""
        outcome = self.outcome(self.exercise.core, number)
        assert outcome.parts is not None, (
            f"{self.exercise.name}, {self.cases[number].says}: {outcome.problem}"
        )
        return outcome.parts

    def diagnose(self, outcomes: list[Outcome], numbers: list[int]) -> tuple[Mistake, ...]:
        """The known mistakes with the same outcome for each of these cases."""
        alike = accept_alike if self.exercise.is_hunt else agree
        found = [
            known
            for known in self.exercise.mistakes
            if all(alike(self.outcome(known.wrong, i), outcomes[i], self.exercise.tolerance) for i in numbers)
        ]
        # Two ways to make one mistake, which a machine may not tell apart: its sort may be stable or not.
        return tuple({known.says: known for known in reversed(found)}.values())[::-1]

    def explains(self, known: Mistake, number: int, outcome: Outcome) -> bool:
        """Whether a known mistake gives the same for a case, apart from rounding: it may lack care for bfloat16."""
        exercise, case = self.exercise, self.cases[number]
        if agree(self.outcome(known.wrong, number), outcome, exercise.tolerance):
            return True
        right = self.expected(number)
        if outcome.parts is None or not has_bfloat16(case) or formats_of(outcome.parts) != formats_of(right):
            return False
        with usual_state(), warnings.catch_warnings(action="ignore"):
            wide = run_case(exercise, known.wrong, widen(case))
        if wide.parts is None:
            return True  # the known mistake cannot be asked
        return agree(replace(wide, parts=like(right, wide.parts)), outcome, ROOM_FOR_BFLOAT16)

    def outcome(self, implementation: Callable, number: int) -> Outcome:
        """What an implementation of ours gives for the case of this number."""
        key = implementation, number
        if key not in self._outcomes:
            # What our own wrong answers make torch warn of is none of the learner's business.
            with usual_state(), warnings.catch_warnings(action="ignore"):
                self._outcomes[key] = run_case(self.exercise, implementation, self.cases[number])
        return self._outcomes[key]


def judge(
    exercise: Exercise, answer: Callable, seconds: float = SECONDS, key: AnswerKey | None = None
) -> CheckResult:
    """The judgement on one answer. All cases together may take `seconds`; many answers may share one `key`."""
    key = key or AnswerKey(exercise)
    kept = sizes_of_what_is_kept(answer)
    attempt = run_cases(exercise, key.cases, answer, seconds)
    result = compare(key, attempt, seconds)
    if result.case is None:
        return result
    if exercise.is_hunt:
        says = look_at_test(exercise, answer, attempt, key.cases[0], seconds)
        if result.diagnoses:
            sound = find_sound(key.cases, key.expected)
            known = still_alike(exercise, sound, answer, result.diagnoses, seconds)
            result = replace(result, diagnoses=known)
        return replace(result, beside=says or result.beside)
    if result.diagnoses:
        return result
    if says := say_what_is_kept(kept, answer):
        return replace(result, violated=(), beside=says, find_relations=tuple)
    first = next(o for case, o in zip(key.cases, attempt.outcomes) if case is result.case)
    with contextlib.redirect_stdout(io.StringIO()):
        again = run_cases(exercise, [result.case], answer, seconds)
    with contextlib.suppress(Exception):  # odd values of a learner's own class, which cannot be compared
        if not again.why and not agree(again.outcomes[0], first, exercise.tolerance):
            return replace(result, violated=(), beside=CHANGES, find_relations=tuple)
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        cases, right = [key.cases[i] for i in key.order], [key.expected(i) for i in key.order]
        number = next(i for i, case in enumerate(cases) if case is result.case)
        if not is_exchanged(result.difference) and (
            says := say_order(exercise, cases, right, answer, number, seconds)
        ):
            return replace(result, violated=(), beside=says, find_relations=tuple)
    return result


def compare(key: AnswerKey, attempt: Attempt, seconds: float = SECONDS) -> CheckResult:
    """The judgement on what an answer gave within `seconds`: the smallest input that shows a fault, and its name."""
    exercise = key.exercise
    n_judged = sum(case.judged for case in key.cases)
    if attempt.why in (NOT_TRIED, BEGUN):
        return CheckResult(exercise, attempt.why, n_judged)
    if attempt.why == NO_END:
        says = (
            f"It did not come to an end within {limit(exercise, seconds):g} s. Is there a loop without end? Where the "
            "machine is busy, give it more time: `check(..., seconds=120)`."
        )
        return CheckResult(exercise, "failed", n_judged, Difference("", says))
    outcomes = list(attempt.outcomes)
    with usual_state():
        failing = [i for i in key.order if _explain(key, outcomes[i], i) is not None]
        if not failing:
            return CheckResult(exercise, "passed", n_judged)
        diagnoses, beside = _diagnose(key, outcomes, failing)
        number = choose_shown(key, outcomes, [i for i in failing if i not in beside] or failing, diagnoses)
        case, difference = key.cases[number], _explain(key, outcomes[number], number)
        assert difference is not None
        right, given = [key.expected(i) for i in key.order], [outcomes[i].parts for i in key.order]
        if says := say_exchanged(right, given, key.order.index(number), exercise.tolerance):
            difference = replace(difference, says=says)
        elif exercise.is_hunt and all(outcomes[i].parts is None for i in key.order):
            says = difference.says.replace("It raises ", "Your test raises ", 1).removesuffix(".")
            difference = replace(difference, says=f"{says}. {NO_VERDICT}")
        return CheckResult(
            exercise,
            "failed",
            n_judged,
            replace(difference, part=name_arguments(exercise, difference.part)),
            case,
            violated=_find_violations(exercise, case, key.expected(number), outcomes[number]),
            diagnoses=diagnoses,
            beside=_say_beside(key, outcomes, beside, diagnoses)
            or ("" if diagnoses else say_formats_met(outcomes[number].problem)),
            find_relations=functools.partial(_relate, key, outcomes),
        )


def _relate(key: AnswerKey, outcomes: list[Outcome]) -> tuple[str, ...]:
    """What is true of an answer whose mistake nobody foresaw."""
    with usual_state(), warnings.catch_warnings(action="ignore"):
        # The lab's own test tells wrong pieces from sound ones, where it can: some raise an error in it.
        expected = [key.outcome(key.exercise.core, number).parts or {} for number in range(len(key.cases))]
        # A help alone: odd values of a learner's own class must not cost the judgement.
        with contextlib.suppress(Exception):
            return relate(key.stand_ins, expected, [outcome.parts for outcome in outcomes])
    return ()


def _explain(key: AnswerKey, outcome: Outcome, number: int) -> Difference | None:
    return _find_difference(key.cases[number], key.expected(number), outcome, key.exercise.tolerance)


def _find_difference(case: Case, expected: Parts, outcome: Outcome, tolerance: float) -> Difference | None:
    """The first difference between an outcome and the expected parts."""
    if outcome.parts is None:
        says = outcome.problem
        if REFUSED in expected.values() and says.startswith("It raises "):
            says = says.replace("It raises ", "It should raise a ValueError here, and raises ", 1)
        return Difference(case.says, says, place=outcome.place)
    if list(outcome.parts) != list(expected):
        says = f"It returns {_list_parts(outcome.parts)}; it should return {_list_parts(expected)}."
        return Difference(case.says, says)
    for name, right in expected.items():
        if says := explain_difference(right, outcome.parts[name], tolerance):
            return Difference(case.says, says, name, right, outcome.parts[name])
    return None


def _list_parts(parts: Parts) -> str:
    return ", ".join(parts) if len(parts) > 1 else f"one {type(next(iter(parts.values()), None)).__name__}"


def _find_violations(exercise: Exercise, case: Case, expected: Parts, outcome: Outcome) -> tuple[str, ...]:
    """The properties that the outcome does not have. Where one cannot be asked, it is not said to be missing."""
    given = outcome.parts
    if given is None or formats_of(given) != formats_of(expected) or _is_finite(given) < _is_finite(expected):
        return ()
    found: list[str] = []
    for each in exercise.properties:
        with contextlib.suppress(Exception):
            if not each.holds(given, *case.fresh_args()) and each.holds(expected, *case.fresh_args()):
                found.append(each.says)
    return tuple(found)


def _is_finite(parts: Parts) -> bool:
    return all(bool(part.isfinite().all()) for part in parts.values() if isinstance(part, Tensor))


def _diagnose(
    key: AnswerKey, outcomes: list[Outcome], failing: list[int]
) -> tuple[tuple[Mistake, ...], list[int]]:
    """The known mistakes that the answer may have made, and the failing cases that have a fault of their own.

    Several mistakes where no case tells them apart, often none. An answer may make a known mistake and forget bfloat16,
    or a ValueError, as well, or have trouble with a rare format: without a match these cases are left out.
    """
    if key.exercise.is_hunt and any(outcomes[i].parts is None for i in key.order):
        return (), []  # an error is no verdict on a piece, and the known weak tests raise none
    if _say_beside(key, outcomes, [], ()) and all(key.expected(i) == {TEST: "passes"} for i in failing):
        return (), []  # that is all of it
    # Few known mistakes are wrong where this answer is: asked there first, most of them run on one case alone.
    everything = [*failing, *(number for number in range(len(key.cases)) if number not in failing)]
    plain = [i for i in everything if not (key.cases[i].aside or has_bfloat16(key.cases[i]))]
    usual = [i for i in plain if not (is_rare(key.cases[i]) and _is_of_another_kind(key, outcomes[i], i))]
    for numbers in (everything, plain, usual):
        if any(i in numbers for i in failing) and (known := key.diagnose(outcomes, numbers)):
            return known, [i for i in failing if i not in numbers]
    return (), []


def _is_of_another_kind(key: AnswerKey, outcome: Outcome, number: int) -> bool:
    """Whether an answer raised an error, or gave another format than it should."""
    return outcome.parts is None or formats_of(outcome.parts) != formats_of(key.expected(number))


def _say_beside(
    key: AnswerKey, outcomes: list[Outcome], numbers: list[int], diagnoses: tuple[Mistake, ...]
) -> str:
    """What else is wrong, in the first of these cases, as a sentence; empty where the known mistake explains all."""
    exercise = key.exercise
    if exercise.is_hunt:
        return tell_doubles(key.cases, [outcome.parts for outcome in outcomes])
    for number in numbers:
        difference = _explain(key, outcomes[number], number)
        if difference and not any(key.explains(known, number, outcomes[number]) for known in diagnoses):
            part = difference.part
            which = f"{name_arguments(exercise, part)}: " if part and part != "result" else ""
            return f"And in another case ({difference.case}): {which}{inside(difference.says)}"
    return ""
