"""The known wrong answers to the exercises of notebook 02: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch02_attention.mistakes.apply_rope import ROPE_PAIRS
from lab_utils.course.chapters.ch02_attention.mistakes.apply_rope_angles import ROPE_ANGLES
from lab_utils.course.chapters.ch02_attention.mistakes.attend import ATTEND_WEIGHTS
from lab_utils.course.chapters.ch02_attention.mistakes.attend_limits import ATTEND_LIMITS
from lab_utils.course.chapters.ch02_attention.mistakes.attend_masks import ATTEND_MASKS
from lab_utils.course.chapters.ch02_attention.mistakes.attend_tests import WEAK_ATTEND_TESTS
from lab_utils.course.chapters.ch02_attention.mistakes.attend_tests_of_values import ATTEND_TESTS_OF_VALUES
from lab_utils.course.chapters.ch02_attention.mistakes.causal_mask import MASK_TRIANGLES
from lab_utils.course.chapters.ch02_attention.mistakes.causal_mask_sides import MASK_SIDES
from lab_utils.course.chapters.ch02_attention.mistakes.decoding_formulas import DECODING_FORMULAS
from lab_utils.course.chapters.ch02_attention.mistakes.decoding_tests import WEAK_DECODING_TESTS
from lab_utils.course.chapters.ch02_attention.mistakes.join_heads import JOIN_HEADS
from lab_utils.course.chapters.ch02_attention.mistakes.rms_norm import NORM_SIZES
from lab_utils.course.chapters.ch02_attention.mistakes.rms_norm_eps import NORM_EPS
from lab_utils.course.chapters.ch02_attention.mistakes.rms_norm_formats import NORM_FORMATS
from lab_utils.course.chapters.ch02_attention.mistakes.rope_frequencies import ROPE_FREQUENCIES
from lab_utils.course.chapters.ch02_attention.mistakes.split_heads import SPLIT_HEADS

APPLY_ROPE = ROPE_PAIRS + ROPE_ANGLES
ATTEND = ATTEND_WEIGHTS + ATTEND_MASKS + ATTEND_LIMITS
ATTEND_TESTS = WEAK_ATTEND_TESTS + ATTEND_TESTS_OF_VALUES
CAUSAL_MASK = MASK_TRIANGLES + MASK_SIDES
DECODING_TESTS = WEAK_DECODING_TESTS + DECODING_FORMULAS
RMS_NORM = NORM_SIZES + NORM_FORMATS + NORM_EPS

__all__ = [
    "APPLY_ROPE",
    "ATTEND",
    "ATTEND_TESTS",
    "CAUSAL_MASK",
    "DECODING_TESTS",
    "JOIN_HEADS",
    "RMS_NORM",
    "ROPE_FREQUENCIES",
    "SPLIT_HEADS",
]
