"""The known wrong answers to the exercises of notebook 03: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch03_experts.mistakes.dispatch_tests import DISPATCH_TESTS
from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank import BANK_RESULTS
from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank_runs import BANK_RUNS
from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank_starts import BANK_STARTS
from lab_utils.course.chapters.ch03_experts.mistakes.expert_bank_work import BANK_WORK
from lab_utils.course.chapters.ch03_experts.mistakes.swiglu import SWIGLU_PRODUCTS
from lab_utils.course.chapters.ch03_experts.mistakes.swiglu_gates import SWIGLU_GATES
from lab_utils.course.chapters.ch03_experts.mistakes.swiglu_tests import SWIGLU_TESTS

EXPERT_BANK = BANK_RUNS + BANK_STARTS + BANK_WORK + BANK_RESULTS
SWIGLU = SWIGLU_GATES + SWIGLU_PRODUCTS

__all__ = [
    "DISPATCH_TESTS",
    "EXPERT_BANK",
    "SWIGLU",
    "SWIGLU_TESTS",
]
