"""Notebook 05: answers that look right on ordinary inputs are refused, and told why; right ones pass."""

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.judge import judge


def weigh(powers):
    """A compress whose weights are `powers(scores)`, divided by their sums."""

    def compress(self, blocks):
        scores = self.latent_q_proj(self.latents) @ self.latent_k_proj(blocks).mT / blocks.shape[-1] ** 0.5
        raised = powers(scores)
        return (raised / raised.sum(-1, keepdim=True)) @ self.latent_v_proj(blocks)

    return compress


bare_powers = weigh(torch.exp)
powers_below_one = weigh(lambda s: torch.exp(s - s.amax(-1, keepdim=True)) if s.numel() else s)


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


WRONG = [
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
]


@pytest.mark.parametrize(("name", "answer", "says"), WRONG)
def test_a_wrong_answer_is_refused_and_named(name, answer, says):
    result = judge(find(name), answer)
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
    result = judge(find(name), answer)
    assert result.status == "passed", result
