"""The known wrong answers to the exercises of notebook 07: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch07_muon.mistakes.build_optimizers import OPTIMIZER_GROUPS
from lab_utils.course.chapters.ch07_muon.mistakes.clip_qk import CLIP_QK_PARTS
from lab_utils.course.chapters.ch07_muon.mistakes.clip_qk_heads import CLIP_QK_HEADS
from lab_utils.course.chapters.ch07_muon.mistakes.lr_at import LR_AT_COSINE
from lab_utils.course.chapters.ch07_muon.mistakes.lr_at_ends import LR_AT_ENDS
from lab_utils.course.chapters.ch07_muon.mistakes.lr_at_wsd import LR_AT_WSD
from lab_utils.course.chapters.ch07_muon.mistakes.max_logit import MAX_LOGIT
from lab_utils.course.chapters.ch07_muon.mistakes.max_logit_pairs import MAX_LOGIT_PAIRS
from lab_utils.course.chapters.ch07_muon.mistakes.muon import MUON_MOMENTUM
from lab_utils.course.chapters.ch07_muon.mistakes.muon_memory import MUON_MEMORY
from lab_utils.course.chapters.ch07_muon.mistakes.muon_scale import MUON_SCALE
from lab_utils.course.chapters.ch07_muon.mistakes.muon_settings import MUON_SETTINGS
from lab_utils.course.chapters.ch07_muon.mistakes.muon_weights import MUON_WEIGHTS
from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz import NEWTON_SCHULZ_ROUNDS
from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz_eps import NEWTON_SCHULZ_EPS
from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz_norm import NEWTON_SCHULZ_NORM
from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz_powers import NEWTON_SCHULZ_POWERS
from lab_utils.course.chapters.ch07_muon.mistakes.optimizer_names import OPTIMIZER_NAMES
from lab_utils.course.chapters.ch07_muon.mistakes.optimizer_settings import OPTIMIZER_SETTINGS
from lab_utils.course.chapters.ch07_muon.mistakes.weak_clip import CLIP_TESTS
from lab_utils.course.chapters.ch07_muon.mistakes.weak_muon import MUON_TESTS
from lab_utils.course.chapters.ch07_muon.mistakes.weak_muon_size import MUON_TESTS_OF_THE_SIZE
from lab_utils.course.chapters.ch07_muon.mistakes.weak_newton_schulz import NEWTON_SCHULZ_TESTS

__all__ = [
    "CLIP_QK_HEADS",
    "CLIP_QK_PARTS",
    "CLIP_TESTS",
    "LR_AT_COSINE",
    "LR_AT_ENDS",
    "LR_AT_WSD",
    "MAX_LOGIT",
    "MAX_LOGIT_PAIRS",
    "MUON_MEMORY",
    "MUON_MOMENTUM",
    "MUON_SCALE",
    "MUON_SETTINGS",
    "MUON_TESTS",
    "MUON_TESTS_OF_THE_SIZE",
    "MUON_WEIGHTS",
    "NEWTON_SCHULZ_EPS",
    "NEWTON_SCHULZ_NORM",
    "NEWTON_SCHULZ_POWERS",
    "NEWTON_SCHULZ_ROUNDS",
    "NEWTON_SCHULZ_TESTS",
    "OPTIMIZER_GROUPS",
    "OPTIMIZER_NAMES",
    "OPTIMIZER_SETTINGS",
]
