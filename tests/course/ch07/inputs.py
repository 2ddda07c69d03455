"""Inputs of notebook 07 on which answers are searched that no case tells apart: small ones, corners included."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from nanokimi.config import (
    BlockLatentConfig,
    GPTConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    TrainConfig,
)

SMALL = st.integers(1, 4)
SEEDS = st.integers(0, 99)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def matrices(draw: Any) -> tuple[Tensor, dict]:
    """A matrix or a bank: tall, wide, zero, of rank one, tiny, large.

    In float64: five rounds take the smallest singular value times 480, and every rounding with it.
    """
    leading = draw(st.lists(st.integers(1, 3), max_size=2))
    g = normal(draw(SEEDS), *leading, draw(SMALL), draw(SMALL))
    change = draw(st.sampled_from(("none", "zero", "rank one", "1e-9", "1e4", "one zero", "uneven")))
    if change == "zero":
        g = 0 * g
    elif change == "rank one":
        g = g[..., :1] @ g[..., :1, :]
    elif change in ("1e-9", "1e4"):
        g = g * float(change)
    elif change == "one zero" and leading:
        g[0] = 0
    elif change == "uneven" and leading:
        g[0] *= 1000
    return g, {"dtype": torch.float64, "steps": draw(st.integers(0, 8))}


@st.composite
def parameters(draw: Any) -> tuple[list, dict]:
    """One to three parameters in groups of their own, and the settings of the optimizer."""
    shapes = []
    for _ in range(draw(st.integers(1, 3))):
        fused = draw(st.integers(1, 3))
        leading = draw(st.lists(st.integers(1, 3), max_size=2))
        own = {"dtype": torch.float64, "fused_rows": fused, "idle": draw(st.booleans())}
        if draw(st.booleans()):
            own |= {
                "lr": draw(st.sampled_from((0.0, 0.02, 0.5))),
                "momentum": draw(st.sampled_from((0.0, 0.5))),
            }
        if draw(st.booleans()):
            own |= {"weight_decay": draw(st.sampled_from((0.0, 0.3))), "ns_steps": draw(st.integers(1, 6))}
        shapes.append(((*leading, fused * draw(SMALL), draw(SMALL)), own))
    settings = {
        "lr": draw(st.sampled_from((0.01, 0.1, 1.0))),
        "weight_decay": draw(st.sampled_from((0.0, 0.1, 1.0))),
        "momentum": draw(st.sampled_from((0.0, 0.5, 0.95, 0.99))),
        "ns_steps": draw(st.integers(1, 6)),
        "ns_dtype": torch.float64,
        "halve": draw(st.booleans()),
    }
    return shapes, settings


@st.composite
def models(draw: Any) -> tuple[GPTConfig | KimiConfig, OptimConfig]:
    small: dict[str, Any] = dict(
        vocab_size=12, max_seq_len=8, d_model=8, n_layers=draw(st.integers(1, 2)), n_heads=2
    )
    rank = draw(st.none() | st.just(4))
    mla = MLAConfig(q_lora_rank=rank, kv_lora_rank=4, qk_nope_head_dim=2, qk_rope_head_dim=2, v_head_dim=4)
    moe = draw(st.none() | st.just(MoEConfig(n_routed_experts=2, top_k=1, moe_intermediate_size=4)))
    attention = draw(st.sampled_from(("mha", "mla", "block_latent")))
    block = BlockLatentConfig(n_latents=2, block_len=4)
    section: dict[str, Any] = {"mla": {"mla": mla}, "block_latent": {"block_latent": block}}.get(
        attention, {}
    )
    kimi = KimiConfig(**small, intermediate_size=8, attention=attention, moe=moe, **section)
    shares = st.sampled_from((0.0, 0.5, 0.9, 0.99))
    cfg = OptimConfig(
        optimizer=draw(st.sampled_from(("adamw", "muon"))),
        lr=draw(st.sampled_from((1e-3, 0.5, 2.0))),
        weight_decay=draw(st.sampled_from((0.0, 0.1, 2.0))),
        beta1=draw(shares),
        beta2=draw(shares),
        muon_momentum=draw(shares),
        ns_steps=draw(st.integers(1, 9)),
    )
    return draw(st.sampled_from((GPTConfig(**small), kimi))), cfg


@st.composite
def schedules(draw: Any) -> tuple[TrainConfig]:
    """A training of 1 to 25 steps: warm-up none or nearly all, a decay of no steps or of all."""
    steps = draw(st.integers(1, 25))
    share = st.floats(0, 1, width=32) | st.sampled_from((0.0, 1.0))
    return (
        TrainConfig(
            steps=steps,
            warmup_steps=draw(st.integers(0, steps - 1)),
            schedule=draw(st.sampled_from(("cosine", "wsd"))),
            min_lr_ratio=draw(share),
            decay_fraction=draw(share),
            optim=OptimConfig(lr=draw(st.sampled_from((1e-3, 1.0, 3.0)))),
        ),
    )


@st.composite
def attentions(draw: Any) -> tuple:
    """Queries and keys, with and without a mask of the caller's; every query sees a key."""
    batch, heads, queries, d = (draw(st.integers(1, 3)) for _ in range(4))
    keys = queries + draw(st.integers(0, 3))
    seed, sign = draw(SEEDS), draw(st.sampled_from((1.0, -1.0, 0.0)))
    q, k = normal(seed, batch, heads, queries, d), normal(seed + 1, batch, heads, keys, d)
    if sign != 1:
        q, k = q.abs(), sign * k.abs()
    args = q, k, draw(st.sampled_from((0.5, 1.0, 3.0)))
    if draw(st.booleans()):
        return args
    visible = normal(seed + 2, queries, keys) > 0
    visible[:, draw(st.integers(0, keys - 1))] = True
    return *args, visible


INPUTS = {
    "newton_schulz": matrices(),
    "Muon": parameters(),
    "build_optimizers": models(),
    "lr_at": schedules(),
    "max_logit": attentions(),
    "clip_qk_": st.tuples(
        st.sampled_from((None, 6)), st.sampled_from(("none", "one", "two", "all", "elsewhere", "below zero"))
    ),
}
