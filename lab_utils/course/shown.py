"""Which of the inputs on which an answer is wrong its panel shows: one on which the named mistake is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lab_utils.course.agreement import agree
from lab_utils.course.attempt import Outcome
from lab_utils.course.exercise import Exercise, Mistake, Parts


class Key(Protocol):
    """What is asked of an answer key: the judged cases in their order, and what is given for each."""

    exercise: Exercise
    order: list[int]

    def expected(self, number: int) -> Parts: ...

    def outcome(self, implementation: Callable, number: int) -> Outcome: ...


def choose_shown(
    key: Key, outcomes: list[Outcome], failing: list[int], diagnoses: tuple[Mistake, ...]
) -> int:
    """The first of the failing cases in which the named mistake is seen, and no other one instead.

    An answer may hold another known mistake as well, which is wrong in some of the failing cases alone. Where that one
    gives the same, whoever mends the named one sees no change.
    """
    if key.exercise.is_hunt or not diagnoses:
        return failing[0]
    says = {known.says for known in diagnoses}
    others = [known for known in key.exercise.mistakes if known.says not in says]
    return next(
        (i for i in failing if not any(_hides(key, known, i, outcomes, failing) for known in others)),
        failing[0],
    )


def _hides(key: Key, known: Mistake, number: int, outcomes: list[Outcome], failing: list[int]) -> bool:
    """Whether a known mistake gives the same for a case, and is wrong in some of the failing cases alone."""
    tolerance = key.exercise.tolerance
    if not agree(key.outcome(known.wrong, number), outcomes[number], tolerance):
        return False
    right = [
        i for i in key.order if agree(Outcome(key.expected(i), ""), key.outcome(known.wrong, i), tolerance)
    ]
    return any(i in right for i in failing) and all(i in failing or i in right for i in key.order)
