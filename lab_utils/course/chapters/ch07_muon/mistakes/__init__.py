"""The known wrong answers to the exercises of notebook 07: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch07_muon.mistakes.build_optimizers import BUILD_OPTIMIZERS
from lab_utils.course.chapters.ch07_muon.mistakes.clip_qk import CLIP_QK
from lab_utils.course.chapters.ch07_muon.mistakes.lr_at import LR_AT
from lab_utils.course.chapters.ch07_muon.mistakes.max_logit import MAX_LOGIT
from lab_utils.course.chapters.ch07_muon.mistakes.muon import MUON
from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz import NEWTON_SCHULZ
from lab_utils.course.chapters.ch07_muon.mistakes.weak_tests import (
    CLIP_TESTS,
    MUON_TESTS,
    NEWTON_SCHULZ_TESTS,
)

__all__ = [
    "BUILD_OPTIMIZERS",
    "CLIP_QK",
    "CLIP_TESTS",
    "LR_AT",
    "MAX_LOGIT",
    "MUON",
    "MUON_TESTS",
    "NEWTON_SCHULZ",
    "NEWTON_SCHULZ_TESTS",
]
