"""The known wrong answers to the exercises of notebook 10: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch10_sampling.mistakes.generate import GENERATE
from lab_utils.course.chapters.ch10_sampling.mistakes.next_token_probs import NEXT_TOKEN_PROBS
from lab_utils.course.chapters.ch10_sampling.mistakes.sequence_cache import SEQUENCE_CACHE
from lab_utils.course.chapters.ch10_sampling.mistakes.weak_tests import SAMPLING_TESTS, TOP_K_TESTS

__all__ = [
    "GENERATE",
    "NEXT_TOKEN_PROBS",
    "SAMPLING_TESTS",
    "SEQUENCE_CACHE",
    "TOP_K_TESTS",
]
