"""The known wrong answers to the exercises of notebook 03: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch03_experts.mistakes.dispatch_tests import DISPATCH_TESTS
from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank import EXPERT_BANK
from lab_utils.course.chapters.ch03_experts.mistakes.swiglu import SWIGLU
from lab_utils.course.chapters.ch03_experts.mistakes.swiglu_tests import SWIGLU_TESTS

__all__ = [
    "DISPATCH_TESTS",
    "EXPERT_BANK",
    "SWIGLU",
    "SWIGLU_TESTS",
]
