"""Notebook 05: answers that look right on ordinary inputs are refused, and told why; right ones pass."""

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch05_latent.mistakes.latent_layer import LatentLayer
from nanokimi.attention import AttentionOutput, attend, join_heads
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.count import cache_elements as core_elements
from nanokimi.mla import MultiHeadLatentAttention, absorb_query
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope, rotations
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def weigh(powers):
    """A compress whose weights are `powers(scores)`, divided by their sums."""

    def compress(self, blocks):
        scores = self.latent_q_proj(self.latents) @ self.latent_k_proj(blocks).mT / blocks.shape[-1] ** 0.5
        raised = powers(scores)
        return (raised / raised.sum(-1, keepdim=True)) @ self.latent_v_proj(blocks)

    return compress


bare_powers = weigh(torch.exp)
powers_below_one = weigh(lambda s: torch.exp(s - s.amax(-1, keepdim=True)) if s.numel() else s)


class CausalForSeveral(LatentLayer):
    def attend_absorbed(self, q, k, v):
        if q.shape[2] == 1:
            return attend(q, k, v, self.scale)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)


def visible_until(full_blocks):
    """A block_visibility in loops; `full_blocks(seq_len, block_len)` counts the complete blocks."""

    def block_visibility(seq_len, block_len, n_latents, device):
        n_blocks = full_blocks(seq_len, block_len)
        rows = [
            [j < t // block_len for j in range(n_blocks) for _ in range(n_latents)]
            + [s // block_len == t // block_len and s <= t for s in range(seq_len)]
            for t in range(seq_len)
        ]
        return torch.tensor(rows, device=device)

    return block_visibility


def count(blocks):
    """cache_elements with `blocks(L, D, m, b, n)` for the block form."""

    def cache_elements(cfg, n_tokens):
        kind = getattr(cfg, "attention", "mha")
        if kind == "mla":
            return cfg.n_layers * n_tokens * (cfg.mla.kv_lora_rank + cfg.mla.qk_rope_head_dim)
        if kind == "mha":
            return cfg.n_layers * 2 * cfg.d_model * n_tokens
        block = cfg.block_latent
        return blocks(cfg.n_layers, cfg.d_model, block.n_latents, block.block_len, n_tokens)

    return cache_elements


def until_the_context_is_full(cfg, n_tokens):
    return count(lambda L, D, m, b, n: L * D * (2 * m * (n // b) + 3 * (n % b)))(
        cfg, min(n_tokens, cfg.max_seq_len)
    )


class LargestOfTheNewKeys(MultiHeadLatentAttention):
    """Right but for the report with a cache: the maximum is over the keys of this step."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        if cache is None:
            return super().forward(x, rotation, None, with_max_qk_logit)
        nope, rank = self.cfg.qk_nope_head_dim, self.cfg.kv_lora_rank
        latent, k_rope = self.kv_a_proj(x).tensor_split([rank], dim=-1)
        new = torch.cat([self.kv_a_layernorm(latent), apply_rope(k_rope, rotation)], dim=-1)
        (entries,) = cache.append(new)
        weight = self.kv_b_proj.weight.view(self.n_heads, -1, rank)
        q = absorb_query(self._queries(x, rotation), weight[:, :nope])
        k, new = (each[:, None].expand(-1, self.n_heads, -1, -1) for each in (entries, new))
        heads = attend(q, k, k[..., :rank], self.scale) @ weight[:, nope:].mT
        largest = max_logit(q, new, self.scale) if with_max_qk_logit else None
        return AttentionOutput(self.o_proj(join_heads(heads)), largest)


class LargestOfTheNopeParts(LatentLayer):
    """Right but for the report: the rope part is left out of the logits."""

    def report(self, q, k):
        rope = self.cfg.qk_rope_head_dim
        return max_logit(q[..., :-rope], k[..., :-rope], self.scale)


class TurnedByTheNewestLater(LatentLayer):
    """Rope keys are stored bare; after the first tokens all of them are turned by the newest position."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        self.turn = rotation
        self.is_cached = cache is not None
        return super().forward(x, rotation, cache, with_max_qk_logit)

    def turn_key(self, k_rope, rotation):
        return k_rope if self.is_cached else super().turn_key(k_rope, rotation)

    def keep(self, cache, latent, k_rope):
        c, k = super().keep(cache, latent, k_rope).split([self.cfg.kv_lora_rank, k_rope.shape[-1]], dim=-1)
        turn = self.turn if k.shape[1] == len(self.turn) else self.turn[-1:].expand(k.shape[1], -1)
        return torch.cat([c, apply_rope(k, turn)], dim=-1)


def mla_count(of):
    """cache_elements with `of(layers, tokens, rank, rope)` for latent heads."""

    def cache_elements(cfg, n_tokens):
        if getattr(cfg, "attention", "mha") == "mla":
            return of(cfg.n_layers, n_tokens, cfg.mla.kv_lora_rank, cfg.mla.qk_rope_head_dim)
        return core_elements(cfg, n_tokens)

    return cache_elements


def bytes_below(n_tokens, d_model, rank):
    """A test of test_sound_layer that leaves no room for the rope key."""

    def test_of_the_bound(mla_class):
        cfg = MLAConfig(kv_lora_rank=rank, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8)
        x = torch.randn(1, n_tokens, d_model, generator=torch.Generator().manual_seed(n_tokens))
        cache = SequenceCache()
        with torch.no_grad():
            mla_class(d_model, 8, cfg, RopeConfig())(
                x, rotations(torch.arange(n_tokens), 8, RopeConfig()), cache
            )
        assert cache.nbytes / 4 / n_tokens <= rank

    return test_of_the_bound


def wrong_way(n, first, changed, looked_at, by=3.0):
    """A test of test_sound_summary that changes the beginning and asks that `looked_at` stays."""

    def test_of_the_past(layer):
        x = torch.randn(1, n, 8, generator=torch.Generator().manual_seed(first))
        other = x.clone()
        other[:, changed] += by
        assert (layer(x)[:, looked_at] - layer(other)[:, looked_at]).abs().max() < 1e-3

    return test_of_the_past


WRONG = [
    ("MultiHeadLatentAttention", TurnedByTheNewestLater, "after that all get the newest token's"),
    (
        "cache_elements",
        mla_count(lambda L, n, rank, rope: L * rank + rope * n),
        "only the latent is multiplied",
    ),
    (
        "cache_elements",
        mla_count(lambda L, n, rank, rope: n * rank + rope * L),
        "only the latent is multiplied",
    ),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * D * 2 * m * ((n + b - 1) // b)),
        "its tokens are left out",
    ),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * D * (2 * m * (n // b) + 3 * (n % b or min(n, b)))),
        "counted twice",
    ),
    ("test_sound_layer", bytes_below(12, 64, 16), "its bound is below what they need"),
    ("test_sound_layer", bytes_below(5, 16, 12), "its bound is below what they need"),
    ("MultiHeadLatentAttention", LargestOfTheNewKeys, "the maxima miss the keys"),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * D * (2 * m * ((n - 1) // b) + 3 * ((n - 1) % b + 1))),
        "has just become full counts as open",
    ),
    (
        "test_sound_summary",
        wrong_way(7, 1, slice(0, 1), slice(1, None)),
        "it asks that later outputs stay",
    ),
    (
        "test_sound_summary",
        wrong_way(12, 2, slice(0, 1), slice(-1, None)),
        "it asks that later outputs stay",
    ),
    (
        "test_sound_summary",
        wrong_way(8, 3, slice(0, 4), slice(4, None), -9.0),
        "it asks that later outputs stay",
    ),
    (
        "test_sound_summary",
        wrong_way(9, 4, slice(0, 3), slice(6, None)),
        "it asks that later outputs stay",
    ),
    (
        "test_sound_summary",
        wrong_way(6, 5, slice(2, 3), slice(3, None)),
        "it asks that later outputs stay",
    ),
    ("compress", bare_powers, "A score above 88"),
    ("block_visibility", visible_until(lambda n, b: (n - 1) // b), "where it is just full"),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * 2 * D * m * (n // b) + 3 * D * (n % b)),
        "counted once",
    ),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * D * (2 * b * (n // m) + 3 * (n % m))),
        "changed places",
    ),
    (
        "cache_elements",
        count(lambda L, D, m, b, n: L * D * (2 * m * (n % b) + 3 * (n // b))),
        "changed places",
    ),
    (
        "MultiHeadLatentAttention",
        CausalForSeveral,
        "Where several new tokens meet a cache, their queries are",
    ),
]


@pytest.mark.parametrize(("name", "answer", "says"), sample(WRONG, 3))
def test_a_wrong_answer_is_refused_and_named(name, answer, says):
    result = judge_answer(name, answer)
    assert result.status == "failed", result
    assert says in repr(result)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("compress", powers_below_one),
        ("block_visibility", visible_until(lambda n, b: n // b)),
        ("cache_elements", until_the_context_is_full),
    ],
)
def test_a_right_answer_in_other_words_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def test_what_comes_of_another_wrong_part_is_not_called_a_fault():
    """The output after QK-clip is wrong because the clip was given wrong maxima."""
    found = " ".join(judge_answer("MultiHeadLatentAttention", LargestOfTheNopeParts).relations)
    assert "Right on every input: “output”" in found and "axis -2" not in found, found
