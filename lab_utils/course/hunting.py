"""What is seen of a learner's test besides its verdicts: its lines, and whether it runs the piece that it gets."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from lab_utils.course.attempt import Attempt, run_cases
from lab_utils.course.doubles import changing
from lab_utils.course.exercise import TEST, Case, Exercise
from lab_utils.course.lines_of_a_test import NEVER_RUNS, look_at_lines


def look_at_test(exercise: Exercise, test: Callable, attempt: Attempt, case: Case, seconds: float) -> str:
    """What is wrong with a test that gave this `attempt`, as a sentence; empty where nothing is seen.

    It is run once more, with the piece of `case`.
    """
    # A piece without a result may raise an error in a test that has no `assert` at all.
    said = [outcome.parts for outcome in attempt.outcomes]
    passes = all(each in (None, {TEST: "passes"}) for each in said) and any(said)
    says = look_at_lines(test, passes)
    if not says and all(said) and not _runs_its_piece(exercise, test, case, seconds):
        return NEVER_RUNS
    return says


def _runs_its_piece(exercise: Exercise, test: Callable, case: Case, seconds: float) -> bool:
    runs: list[Any] = []

    def note(result: Any, *args: Any) -> Any:
        runs.append(args)
        return result

    piece = changing(note)(case.args[0])
    if isinstance(piece, type):  # a test may look at the weights of an object alone

        def begin(self: Any, *args: Any, **kwargs: Any) -> None:
            runs.append(args)
            super(piece, self).__init__(*args, **kwargs)

        piece.__init__ = begin
    watched = replace(case, args=(piece, *case.args[1:]))
    with redirect_stdout(io.StringIO()):
        run_cases(exercise, [watched], test, seconds)
    return bool(runs)
