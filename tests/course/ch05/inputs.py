"""Inputs of notebook 05 on which answers are searched that no case tells apart: small ones, corners included."""

from itertools import accumulate
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from nanokimi.config import BlockLatentConfig, GPTConfig, KimiConfig, MLAConfig, RopeConfig, YarnConfig
from tests.course.equivalents import name_mutants

CPU, META = torch.device("cpu"), torch.device("meta")
SMALL = st.integers(1, 4)
NUMBERS = ("normal", "zeros", "ones", "large", "whole")


def tensor(numbers: str, seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers of a kind; for "whole" those from -2 to 2, among which many are equal."""
    generator = torch.Generator().manual_seed(seed)
    if numbers in ("zeros", "ones"):
        return torch.full(shape, float(numbers == "ones"), dtype=dtype)
    if numbers == "whole":
        return torch.randint(-2, 3, shape, generator=generator).to(dtype)
    return torch.randn(shape, generator=generator, dtype=dtype) * (10.0 if numbers == "large" else 1.0)


@st.composite
def tensors(draw: Any, *sizes: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Tensors whose sizes have the same names, each with numbers of its own."""
    drawn = {name: draw(SMALL) for name in sorted({name for shape in sizes for name in shape})}
    seed = draw(st.integers(0, 99))
    return tuple(
        tensor(draw(st.sampled_from(NUMBERS)), seed + i, *(drawn[name] for name in shape))
        for i, shape in enumerate(sizes)
    )


@st.composite
def queries(draw: Any) -> tuple[Tensor, Tensor]:
    batch, heads, seq, nope, rope, rank = (draw(SMALL) for _ in range(6))
    seed, kinds = draw(st.integers(0, 99)), st.sampled_from(NUMBERS)
    return tensor(draw(kinds), seed, batch, heads, seq, nope + rope), tensor(
        draw(kinds), seed + 1, heads, nope, rank
    )


@st.composite
def layers(draw: Any) -> tuple:
    """A latent attention, a text, and how it is cut into pieces where it goes through a cache."""
    cfg = MLAConfig(
        q_lora_rank=draw(st.none() | SMALL),
        kv_lora_rank=draw(SMALL),
        qk_nope_head_dim=draw(SMALL),
        qk_rope_head_dim=draw(st.sampled_from((2, 4))),
        v_head_dim=draw(SMALL),
    )
    yarn = draw(st.none() | st.just(YarnConfig(factor=4.0, original_max_seq_len=4)))
    rope = RopeConfig(base=draw(st.sampled_from((10.0, 50.0, 10_000.0))), yarn=yarn)
    batch, n_tokens = draw(st.integers(1, 2)), draw(st.integers(1, 6))
    cuts = draw(st.none() | st.lists(st.integers(1, n_tokens), max_size=n_tokens))
    pieces: tuple[int, ...] = ()
    if cuts is not None:
        ends = [end for end in accumulate(cuts) if end < n_tokens]
        pieces = tuple(end - start for start, end in zip([0, *ends], [*ends, n_tokens]))
    numbers = draw(st.sampled_from(("normal", "whole", "zeros")))
    x = tensor(
        numbers, draw(st.integers(0, 99)), batch, n_tokens, draw(st.integers(2, 6)), dtype=torch.float32
    )
    return draw(st.integers(1, 3)), cfg, rope, x, pieces


@st.composite
def blocks(draw: Any) -> tuple[int, int, Tensor]:
    n_heads = draw(st.integers(1, 2))
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(0, 3)),
        draw(SMALL),
        2 * n_heads * draw(st.integers(1, 2)),
    )
    numbers = draw(st.sampled_from(("normal", "zeros", "ones", "whole")))
    return n_heads, draw(SMALL), tensor(numbers, draw(st.integers(0, 99)), *shape, dtype=torch.float32)


@st.composite
def counted(draw: Any) -> tuple[GPTConfig | KimiConfig, int]:
    n_heads = draw(st.integers(1, 3))
    sizes: dict[str, Any] = dict(
        n_layers=draw(SMALL), n_heads=n_heads, d_model=2 * n_heads * draw(SMALL), max_seq_len=64
    )
    mla = MLAConfig(
        kv_lora_rank=draw(SMALL),
        qk_nope_head_dim=draw(SMALL),
        qk_rope_head_dim=draw(st.sampled_from((2, 4))),
        v_head_dim=draw(SMALL),
    )
    block = BlockLatentConfig(n_latents=draw(SMALL), block_len=draw(SMALL))
    kind = draw(st.sampled_from(("gpt", "mha", "mla", "block_latent")))
    if kind == "gpt":
        return GPTConfig(**sizes), draw(st.integers(0, 12))
    section: dict[str, Any] = {"mla": {"mla": mla}, "block_latent": {"block_latent": block}}.get(kind, {})
    return KimiConfig(**sizes, attention=kind, **section), draw(st.integers(0, 12))


INPUTS = {
    "expand_latent": tensors(
        ("batch", "seq", "rank"), ("batch", "seq", "rope"), ("heads", "nope", "rank"), ("heads", "v", "rank")
    ),
    "absorb_query": queries(),
    "MultiHeadLatentAttention": layers(),
    "compress": blocks(),
    "block_visibility": st.tuples(st.integers(1, 12), st.integers(1, 5), SMALL, st.sampled_from((CPU, META))),
    "cache_elements": counted(),
}

# Answers that do the same in a notebook, with the reason.
APART = {
    "MultiHeadLatentAttention": name_mutants(
        "k = entries[:, None].expand(-1, self.n_heads, -1, -1)",
        (
            "entries[:, None].expand(-1, self.n_heads, -1, -1)",
            "_unchanged(entries[:, None])",
            "the tests check shapes, and one head of keys is spread over all heads anyway",
        ),
    )
}
