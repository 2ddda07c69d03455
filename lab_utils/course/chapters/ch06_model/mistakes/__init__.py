"""The known wrong answers to the exercises of notebook 06: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch06_model.mistakes.balance_term import BALANCE_TERM
from lab_utils.course.chapters.ch06_model.mistakes.block_tests import BLOCK_TESTS
from lab_utils.course.chapters.ch06_model.mistakes.kimi import KIMI
from lab_utils.course.chapters.ch06_model.mistakes.kimi_block import KIMI_BLOCK
from lab_utils.course.chapters.ch06_model.mistakes.moe import MOE
from lab_utils.course.chapters.ch06_model.mistakes.moe_tests import MOE_TESTS

__all__ = [
    "BALANCE_TERM",
    "BLOCK_TESTS",
    "KIMI",
    "KIMI_BLOCK",
    "MOE",
    "MOE_TESTS",
]
