"""Small valid inputs of the exercises of notebook 03, corners among them: no rows, experts without rows, zeros."""

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite
from torch import Tensor

SIZES = st.integers(1, 3)


@composite
def numbers(draw: DrawFn, *shape: int) -> Tensor:
    """Halves from -4 to 4, or numbers drawn at random."""
    n = int(torch.tensor(shape).prod())
    if draw(st.booleans()):
        halves = draw(st.lists(st.integers(-8, 8), min_size=n, max_size=n))
        return torch.tensor(halves, dtype=torch.float32).view(shape) / 2
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 9))))


@composite
def gates(draw: DrawFn) -> tuple:
    d_model, width = draw(SIZES), draw(SIZES)
    shape = [draw(SIZES) for _ in range(draw(st.integers(0, 2)))]
    return (
        draw(numbers(*shape, d_model)),
        draw(numbers(2 * width, d_model)),
        draw(numbers(d_model, width)),
    )


@composite
def banks(draw: DrawFn) -> tuple:
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    return draw(numbers(sum(counts), draw(SIZES))), counts, draw(SIZES)


INPUTS: dict[str, SearchStrategy[tuple]] = {"swiglu": gates(), "ExpertBank": banks()}
