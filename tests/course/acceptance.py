"""Whether a check accepts an answer, without a panel: for tests that ask this of thousands of answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lab_utils.course.attempt import SECONDS
from lab_utils.course.exercise import Case, Exercise
from lab_utils.course.judge import AnswerKey, judge


class Acceptance:
    """The check of an exercise. A wrong answer meets no further input than the first that shows its fault."""

    def __init__(self, exercise: Exercise):
        self.key = AnswerKey(exercise)
        self._one_by_one = [key_of_one(exercise, self.key.cases[number]) for number in self.key.order]

    def accepts(self, answer: Callable, seconds: float = SECONDS) -> bool:
        return all(passes(key, answer, seconds) for key in (*self._one_by_one, self.key))


def key_of_one(exercise: Exercise, case: Case) -> AnswerKey:
    """The exercise with one case, and without known mistakes."""
    return AnswerKey(dataclasses.replace(exercise, mistakes=(), cases=lambda: [case]))


def passes(key: AnswerKey, answer: Callable, seconds: float) -> bool:
    return judge(key.exercise, answer, seconds, key).status == "passed"
