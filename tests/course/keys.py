"""One answer key per exercise and process: what the core and the known mistakes give is computed once for all tests."""

import functools
from typing import Any

from lab_utils.course.chapters import find
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.judgement import CheckResult


@functools.cache
def key_of(name: str) -> AnswerKey:
    """The answer key of the exercise."""
    return AnswerKey(find(name))


def judge_answer(name: str, answer: Any) -> CheckResult:
    """`judge` for an answer to the exercise."""
    return judge(find(name), answer, key=key_of(name))
