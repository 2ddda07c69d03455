"""Small valid inputs for the exercises of notebook 06: sizes, configurations and seeds, corners included."""

from dataclasses import replace

import torch
from hypothesis import strategies as st

from lab_utils.course.chapters.ch06_model.cases import HEADS
from lab_utils.course.chapters.ch06_model.looks import moe_config
from nanokimi.config import BalanceConfig, KimiConfig, MLAConfig, RopeConfig


def numbers(draw, *shape):
    """Numbers from a seed, of a size from zero to a hundred."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 50)))
    return draw(st.sampled_from([0.0, 0.1, 1.0, 100.0])) * torch.randn(shape, generator=generator)


def draw_moe_config(draw):
    n_experts = draw(st.integers(1, 4))
    return moe_config(
        n_routed_experts=n_experts,
        top_k=draw(st.integers(1, n_experts)),
        n_shared_experts=draw(st.integers(0, 2)),
        scoring=draw(st.sampled_from(["sigmoid", "softmax"])),
        routed_scaling_factor=draw(st.sampled_from([1.0, 2.5])),
    )


def draw_config(draw):
    cfg = KimiConfig(
        vocab_size=draw(st.sampled_from([2, 5])), max_seq_len=draw(st.integers(1, 6)), d_model=8,
        n_layers=draw(st.integers(1, 3)), n_heads=2, intermediate_size=3, norm_eps=0.01, rope=RopeConfig(base=20.0),
        mla=MLAConfig(kv_lora_rank=4, qk_nope_head_dim=2, qk_rope_head_dim=2, v_head_dim=3),
        moe=draw_moe_config(draw) if draw(st.booleans()) else None,
    )  # fmt: skip
    return replace(cfg, **HEADS) if draw(st.booleans()) else cfg


def draw_pieces(draw, length):
    """A text at once (no pieces), or cut into pieces."""
    if length < 2 or draw(st.booleans()):
        return ()
    first = draw(st.integers(1, length - 1))
    return (first, *[1] * (length - first))


@st.composite
def layers_of_experts(draw):
    x = numbers(draw, draw(st.integers(1, 2)), draw(st.integers(1, 3)), 4)
    return 4, draw_moe_config(draw), x, draw(st.booleans())


@st.composite
def blocks(draw):
    cfg, length = draw_config(draw), draw(st.integers(1, 4))
    x = numbers(draw, draw(st.integers(1, 2)), length, cfg.d_model)
    return cfg, draw(st.integers(0, cfg.n_layers - 1)), x, draw(st.booleans()), draw_pieces(draw, length)


@st.composite
def models(draw):
    cfg = draw_config(draw)
    length = draw(st.integers(1, cfg.max_seq_len + 1))
    ids = st.lists(st.integers(0, cfg.vocab_size - 1), min_size=length, max_size=length)
    tokens = torch.tensor([draw(ids) for _ in range(draw(st.integers(1, 2)))])
    if length > cfg.max_seq_len:  # the last piece must be the first that is too long
        pieces = (length - 1, 1) if draw(st.booleans()) and length > 1 else ()
        return cfg, tokens, pieces, None
    return cfg, tokens, draw_pieces(draw, length), draw(st.sampled_from([None, 0, 3]))


@st.composite
def balances(draw):
    n_experts, n_layers = draw(st.integers(1, 4)), draw(st.integers(0, 3))
    logits = tuple(
        numbers(draw, draw(st.integers(1, 2)), draw(st.integers(1, 3)), n_experts) for _ in range(n_layers)
    )
    coefficients = st.sampled_from([0.0, 0.1, 1.0])
    cfg = BalanceConfig(
        switch_coef=draw(coefficients),
        sequence_coef=draw(coefficients),
        z_coef=draw(coefficients),
        bias_update_rate=draw(coefficients),
    )
    return logits, draw(st.integers(1, n_experts)), cfg


INPUTS = {
    "MoE": layers_of_experts(),
    "KimiBlock": blocks(),
    "Kimi": models(),
    "balance_term": balances(),
}
