"""Notebook 05: wrong answers, written in other ways than the known mistakes, are told as what they are."""

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from nanokimi.attention import attend
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.mla import expand_latent
from nanokimi.rope import apply_rope, rotations
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes

SMALL = MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8)


class TurnedInOneRow(LatentLayer):
    """The query is turned before it is split into heads."""

    def turn_query(self, q, rotation):
        rope = self.cfg.qk_rope_head_dim
        row = q.transpose(1, 2).flatten(2)
        turned = torch.cat([row[..., :-rope], apply_rope(row[..., -rope:], rotation)], dim=-1)
        return turned.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


def channels_in_turns(latent, k_rope, expand_k, expand_v):
    n_heads = len(expand_k)
    k, v = (F.linear(latent, e.flatten(0, 1)).unflatten(-1, (-1, n_heads)) for e in (expand_k, expand_v))
    shared = k_rope[:, None].expand(-1, n_heads, -1, -1)
    return torch.cat([k.permute(0, 3, 1, 2), shared], dim=-1), v.permute(0, 3, 1, 2)


def rope_keys_by_texts(latent, k_rope, expand_k, expand_v):
    batch, seq, rope = k_rope.shape
    shared = k_rope.repeat(len(expand_k), 1, 1).view(batch, len(expand_k), seq, rope)
    return torch.cat([latent[:, None] @ expand_k.mT, shared], dim=-1), latent[:, None] @ expand_v.mT


def asks_for_bytes_as_if_numbers(mla_class):
    layer, cache, turn = mla_class(64, 8, SMALL, RopeConfig()), SequenceCache(), rotations
    x = torch.randn(1, 12, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for t in range(12):
            layer(x[:, t : t + 1], turn(torch.arange(t, t + 1), 8, RopeConfig()), cache)
    assert cache.nbytes / 12 <= SMALL.kv_lora_rank + SMALL.qk_rope_head_dim


def asks_for_as_many_bytes_as_numbers(mla_class):
    layer, cache = mla_class(64, 8, SMALL, RopeConfig()), SequenceCache()
    with torch.no_grad():
        layer(torch.randn(1, 12, 64), rotations(torch.arange(12), 8, RopeConfig()), cache)
    assert cache.nbytes // 12 == 16 + 8


def asks_in_one_call(mla_class):
    layer, cache = mla_class(64, 8, SMALL, RopeConfig()), SequenceCache()
    with torch.no_grad():
        layer(torch.randn(1, 12, 64), rotations(torch.arange(12), 8, RopeConfig()), cache)
    assert cache.nbytes < 1.5 * 12 * (16 + 8)


def asks_with_equal_tokens(attend_latents):
    shapes = ((1, 2, 5, 6), (2, 4, 8), (2, 3, 8))
    q, w_k, w_v = (torch.randn(s, generator=torch.Generator().manual_seed(sum(s))) for s in shapes)
    latent, k_rope = torch.ones(1, 5, 8), torch.ones(1, 5, 2)
    right = attend(q, *expand_latent(latent, k_rope, w_k, w_v), 6**-0.5)
    assert torch.allclose(attend_latents(q, latent, k_rope, w_k, w_v), right, atol=1e-5)


NAMED = [
    ("MultiHeadLatentAttention", TurnedInOneRow, "MLARotatingBeforeSplitting"),
    ("expand_latent", channels_in_turns, "expand_taking_channels_in_turns"),
    ("expand_latent", rope_keys_by_texts, "expand_repeating_the_rope_key_by_texts"),
    ("test_sound_layer", asks_for_bytes_as_if_numbers, "cache_test_of_numbers_in_bytes"),
    ("test_sound_layer", asks_for_as_many_bytes_as_numbers, "cache_test_of_as_many_bytes"),
    ("test_sound_layer", asks_in_one_call, "cache_test_of_numbers_in_bytes_with_a_short_key_at_once"),
    ("test_sound_latents", asks_with_equal_tokens, "scale_test_of_equal_tokens"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_test_that_gives_a_layer_no_number_is_told_so(number):
    def asks_with_a_marked_future(layer):
        text = torch.randn(1, 12, 8, generator=torch.Generator().manual_seed(2))
        text[:, 7:] = number
        assert layer(text)[:, :7].isfinite().all()

    difference = judge_answer("test_sound_summary", asks_with_a_marked_future).difference
    assert difference and "nan or infinite numbers" in difference.says, difference
