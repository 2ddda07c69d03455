"""The known wrong answers to the exercises of notebook 05: a file per exercise, and the tests that cannot tell."""

from lab_utils.course.chapters.ch05_latent.mistakes.absorb_query import ABSORB_QUERY
from lab_utils.course.chapters.ch05_latent.mistakes.block_borders import BLOCK_BORDERS
from lab_utils.course.chapters.ch05_latent.mistakes.block_visibility import BLOCK_VISIBILITY
from lab_utils.course.chapters.ch05_latent.mistakes.cache_elements import CACHE_ELEMENTS
from lab_utils.course.chapters.ch05_latent.mistakes.cache_terms import CACHE_TERMS
from lab_utils.course.chapters.ch05_latent.mistakes.compress import COMPRESS
from lab_utils.course.chapters.ch05_latent.mistakes.compress_weights import COMPRESS_WEIGHTS
from lab_utils.course.chapters.ch05_latent.mistakes.expand_latent import EXPAND_LATENT
from lab_utils.course.chapters.ch05_latent.mistakes.latent_attention import LATENT_ATTENTION
from lab_utils.course.chapters.ch05_latent.mistakes.latent_cache import LATENT_CACHE
from lab_utils.course.chapters.ch05_latent.mistakes.latent_heads import MLA_HEADS
from lab_utils.course.chapters.ch05_latent.mistakes.summary_tests_of_the_past import SUMMARY_TESTS_OF_THE_PAST
from lab_utils.course.chapters.ch05_latent.mistakes.weak_latents import LATENTS_TESTS
from lab_utils.course.chapters.ch05_latent.mistakes.weak_layer import WEAK_LAYER_TESTS
from lab_utils.course.chapters.ch05_latent.mistakes.weak_layer_bytes import LAYER_TESTS_OF_BYTES
from lab_utils.course.chapters.ch05_latent.mistakes.weak_summary import SUMMARY_TESTS

LAYER_TESTS = LAYER_TESTS_OF_BYTES + WEAK_LAYER_TESTS

__all__ = [
    "ABSORB_QUERY",
    "BLOCK_BORDERS",
    "BLOCK_VISIBILITY",
    "CACHE_ELEMENTS",
    "CACHE_TERMS",
    "COMPRESS",
    "COMPRESS_WEIGHTS",
    "EXPAND_LATENT",
    "LATENTS_TESTS",
    "LATENT_ATTENTION",
    "LATENT_CACHE",
    "LAYER_TESTS",
    "MLA_HEADS",
    "SUMMARY_TESTS",
    "SUMMARY_TESTS_OF_THE_PAST",
]
