"""The known wrong answers to the exercises of notebook 01: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch01_text.mistakes.merge_most_frequent import MERGE_MOST_FREQUENT
from lab_utils.course.chapters.ch01_text.mistakes.next_token_loss import NEXT_TOKEN_LOSS
from lab_utils.course.chapters.ch01_text.mistakes.token_bytes import TOKEN_BYTES
from lab_utils.course.chapters.ch01_text.mistakes.weak_tests import PAIRS_TESTS, SPLIT_TESTS
from lab_utils.course.chapters.ch01_text.mistakes.windows import WINDOW_CUTS
from lab_utils.course.chapters.ch01_text.mistakes.windows_counts import WINDOW_COUNTS

WINDOWS = WINDOW_CUTS + WINDOW_COUNTS

__all__ = [
    "MERGE_MOST_FREQUENT",
    "NEXT_TOKEN_LOSS",
    "PAIRS_TESTS",
    "SPLIT_TESTS",
    "TOKEN_BYTES",
    "WINDOWS",
]
