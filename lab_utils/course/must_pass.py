"""must_pass("attend", attend): a check as nbgrader and Otter need it, an error unless the answer passes."""

from __future__ import annotations

from typing import Any

from lab_utils.course.chapters import find
from lab_utils.course.judge import judge
from lab_utils.course.judgement import CheckResult, panel_text


def must_pass(name: str, answer: Any) -> None:
    """Raise an `AssertionError` that says what the check says, unless `answer` is right. No logbook notes it.

    The lab's own function, which stands in the answer's place after the handover, does not pass.
    """
    exercise = find(name)
    if answer is exercise.core:
        result = CheckResult(exercise, "handed over", 0)
    else:
        result = judge(exercise, answer)
    if result.status != "passed":
        raise AssertionError(panel_text(result))
