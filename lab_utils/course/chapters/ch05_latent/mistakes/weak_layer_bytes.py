"""Tests of test_sound_layer, of notebook 05, that compare the bytes of a cache with how many numbers it should hold.

Which broken layers such a test lets through depends on its sizes, so each mistake comes with several: a rope key may be
as small as a quarter of an entry, and with four tokens or more in one call so is the last token.
"""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.rope import rotations

BELOW = mistake(
    "It refuses the sound layers, and passes for those that keep a quarter of every entry, or nothing: its bound is "
    "far below what they need, as where it allows as many bytes as there should be numbers.",
    "How many bytes has a number in float32, and how many numbers does each entry have?",
)
EQUAL = mistake(
    "It refuses the sound layers, and one that keeps nothing, and passes for one that keeps a quarter of every entry: "
    "it asks for a quarter of the right size, as where the bytes should be as many as the numbers.",
    "How many bytes has a number in float32, and how many numbers does each entry have?",
)


def bytes_per_token(mla_class, latent=6, rope=2, in_steps=False):
    """What a layer keeps of eight tokens, given one by one or all in one call."""
    cfg = MLAConfig(kv_lora_rank=latent, qk_nope_head_dim=4, qk_rope_head_dim=rope, v_head_dim=4)
    layer, cache = mla_class(8, 4, cfg, RopeConfig()), SequenceCache()
    x, rotation = torch.ones(1, 8, 8), rotations(torch.arange(8), rope, RopeConfig())
    with torch.no_grad():
        for part in torch.arange(8).split(1 if in_steps else 8):
            layer(x[:, part], rotation[part], cache)
    return cache.nbytes / 8


@BELOW
def cache_test_of_numbers_in_bytes(mla_class):
    assert bytes_per_token(mla_class, 6, 4, in_steps=True) <= 6 + 4


@BELOW
def cache_test_of_numbers_in_bytes_at_once(mla_class):
    assert bytes_per_token(mla_class, 6, 4) <= 6 + 4


@BELOW
def cache_test_of_numbers_in_bytes_with_a_short_key(mla_class):
    assert bytes_per_token(mla_class, in_steps=True) <= 6 + 2


@BELOW
def cache_test_of_numbers_in_bytes_with_a_short_key_at_once(mla_class):
    assert bytes_per_token(mla_class) <= 6 + 2


@EQUAL
def cache_test_of_as_many_bytes(mla_class):
    assert bytes_per_token(mla_class, 8, 4) == 8 + 4


@EQUAL
def cache_test_of_as_many_bytes_with_a_short_key(mla_class):
    assert bytes_per_token(mla_class) == 6 + 2


LAYER_TESTS_OF_BYTES = (
    cache_test_of_numbers_in_bytes,
    cache_test_of_numbers_in_bytes_at_once,
    cache_test_of_numbers_in_bytes_with_a_short_key,
    cache_test_of_numbers_in_bytes_with_a_short_key_at_once,
    cache_test_of_as_many_bytes,
    cache_test_of_as_many_bytes_with_a_short_key,
)
