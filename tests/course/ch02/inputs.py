"""Small valid inputs of the exercises of notebook 02, corners among them: zeros, equal scores, one token, no cache."""

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite
from torch import Tensor

from nanokimi.config import RopeConfig
from nanokimi.rope import rotations

SIZES = st.integers(1, 3)
EPS = st.sampled_from([1e-6, 1e-3, 0.5])


@composite
def numbers(draw: DrawFn, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Halves from -2 to 2, many of them equal; or numbers drawn at random."""
    n = int(torch.tensor(shape).prod())
    if draw(st.booleans()):
        halves = draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
        return torch.tensor(halves, dtype=dtype).view(shape) / 2
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    return 2 * torch.randn(shape, generator=generator, dtype=dtype)


@composite
def masks(draw: DrawFn) -> tuple:
    n_keys = draw(st.integers(1, 9))
    return draw(st.integers(1, n_keys)), n_keys, torch.device(draw(st.sampled_from(["cpu", "meta"])))


@composite
def attentions(draw: DrawFn) -> tuple:
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    n_keys, width = draw(st.integers(1, 5)), draw(SIZES)
    n_queries = draw(st.integers(1, n_keys))
    front = (draw(SIZES), draw(SIZES))
    q = draw(numbers(*front, n_queries, width, dtype=dtype))
    k = draw(numbers(*front, n_keys, width, dtype=dtype))
    v = draw(numbers(*front, n_keys, draw(SIZES), dtype=dtype))
    args = (q, k, v, draw(st.sampled_from([0.25, 0.5, 1.0, 2.0])))
    if draw(st.booleans()):
        return args
    n = n_queries * n_keys
    visible = torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n))).view(n_queries, n_keys)
    visible[:, 0] |= ~visible.any(dim=-1)  # a query that sees nothing has no answer
    return (*args, visible)


@composite
def splits(draw: DrawFn) -> tuple:
    n_heads = draw(st.integers(1, 4))
    return draw(numbers(draw(SIZES), draw(SIZES), n_heads * draw(SIZES))), n_heads


@composite
def joins(draw: DrawFn) -> tuple:
    return (draw(numbers(draw(SIZES), draw(st.integers(1, 4)), draw(SIZES), draw(SIZES))),)


@composite
def frequencies(draw: DrawFn) -> tuple:
    base = draw(st.sampled_from([1.5, 2.0, 100.0, 10_000.0, 50_000.0]))
    return 2 * draw(st.integers(1, 9)), RopeConfig(base=base)


@composite
def turns(draw: DrawFn) -> tuple:
    seq, dim = draw(SIZES), 2 * draw(SIZES)
    shape = [draw(SIZES) for _ in range(draw(st.integers(0, 2)))]
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    start = draw(st.integers(0, 99))
    positions = torch.arange(start, start + seq)
    return draw(numbers(*shape, seq, dim, dtype=dtype)), rotations(positions, dim, RopeConfig(base=20.0))


@composite
def norms(draw: DrawFn) -> tuple:
    shape = [draw(SIZES) for _ in range(draw(st.integers(1, 3)))]
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return draw(numbers(*shape, dtype=dtype)), draw(EPS)


INPUTS: dict[str, SearchStrategy[tuple]] = {
    "causal_mask": masks(),
    "attend": attentions(),
    "split_heads": splits(),
    "join_heads": joins(),
    "rope_frequencies": frequencies(),
    "apply_rope": turns(),
    "RMSNorm": norms(),
}
