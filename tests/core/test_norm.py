"""RMSNorm against its definition, written as loops in float64."""

import math

import pytest
import torch

from nanokimi.norm import RMSNorm


def by_loops(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    rows = []
    for row in x.flatten(0, -2).tolist():
        root = math.sqrt(sum(v * v for v in row) / len(row) + eps)
        rows.append([g * v / root for g, v in zip(gain.tolist(), row)])
    return torch.tensor(rows, dtype=torch.float64).view(x.shape)


@pytest.mark.parametrize("eps", [1e-6, 0.5])
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 5, 8)])
def test_equals_the_definition(shape, eps):
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(shape[-1], eps)
    norm.weight.data = 1 + 0.3 * torch.randn(shape[-1], generator=generator)
    x = 2 + torch.randn(shape, generator=generator)  # a mean that must not be subtracted
    expected = by_loops(x, norm.weight.detach(), eps)
    torch.testing.assert_close(norm(x).double(), expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.double()(x.double()), expected, atol=1e-12, rtol=1e-12)


def test_by_hand():
    assert RMSNorm(2, 1e-12)(torch.tensor([[3.0, 4.0]])).flatten().tolist() == pytest.approx(
        [3 / 12.5**0.5, 4 / 12.5**0.5]
    )
    assert RMSNorm(4, 1e-12)(torch.full((1, 4), -7.0)).flatten().tolist() == pytest.approx([-1] * 4)
    assert RMSNorm(4, 1e-6)(torch.zeros(1, 4)).tolist() == [[0.0] * 4]


def test_length_is_forgotten_and_becomes_the_root_of_the_width():
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    norm = RMSNorm(64, 1e-12)
    torch.testing.assert_close(norm(1000 * x), norm(x))
    torch.testing.assert_close(norm(x).norm(dim=-1), torch.full((5,), 8.0))


def test_every_row_by_itself():
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2))
    norm = RMSNorm(8, 1e-6)
    changed = x.clone()
    changed[1, 2] *= 50
    assert torch.equal(norm(changed)[0], norm(x)[0])
    assert torch.equal(norm(changed)[1, :2], norm(x)[1, :2])


def test_bfloat16_is_normed_in_float32():
    """Rounded once, at the end: every value is the float32 result rounded."""
    x = (100 * torch.randn(4, 512, generator=torch.Generator().manual_seed(3))).bfloat16()
    norm = RMSNorm(512, 1e-6)
    norm.weight.data = 1 + 0.3 * torch.randn(512, generator=torch.Generator().manual_seed(4))
    out = norm(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, norm(x.float()).bfloat16())
    torch.testing.assert_close(
        norm(x.float()).double(), by_loops(x.float(), norm.weight, 1e-6), atol=1e-6, rtol=1e-5
    )
