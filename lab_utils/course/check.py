"""check(your_function): run it against the core on small inputs, and name the mistake where it is a known one."""

from __future__ import annotations

from collections.abc import Callable

from lab_utils.course.chapters import find
from lab_utils.course.judge import SECONDS, judge
from lab_utils.course.judgement import CheckResult
from lab_utils.course.logbook import Logbook


def check(answer: Callable, *, seconds: float = SECONDS) -> CheckResult:
    """Judge a learner's function or class; the exercise is the one of its name. The logbook notes the outcome."""
    exercise = find(answer)
    if answer is exercise.core:
        # Below the handover the name is the lab's. To judge that would call an exercise solved that nobody wrote.
        return CheckResult(exercise, "handed over", 0)
    result = judge(exercise, answer, seconds)
    Logbook.open().note_check(exercise.name, result.status)
    return result
