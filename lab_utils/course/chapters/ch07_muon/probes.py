"""Pieces that no test is judged by: each is wrong in its own way, and tells weak tests of notebook 07 apart."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lab_utils.course.chapters.ch07_muon.mistakes.clip_qk_heads import (
    clip_qk_of_every_head,
    clip_qk_that_blows_up,
)
from lab_utils.course.chapters.ch07_muon.mistakes.muon import MuonByParameter
from lab_utils.course.chapters.ch07_muon.mistakes.muon_scale import MuonWithoutScale
from lab_utils.course.exercise import Case, give_nothing
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.optim import newton_schulz


def orthogonal_by_svd(g, steps=5, dtype=torch.bfloat16):
    """Exactly U·Vᵀ, a matrix at a time."""
    u, _, vt = torch.linalg.svd(g.float(), full_matrices=False)
    return (u @ vt).to(dtype)


def probe(says: str, piece: Callable) -> Case:
    return Case(says, (piece,), judged=False)


# ---------------------------------------------------------------- test_sound_newton_schulz


def _changed(change: Callable[[Tensor], Tensor]) -> Callable:
    """The core's Newton-Schulz with another result."""
    return lambda g, steps=5, dtype=torch.bfloat16: change(newton_schulz(g, steps, dtype))


def _cubic(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype) / g.norm(dim=(-2, -1), keepdim=True)
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


def _by_the_first(g, steps=5, dtype=torch.bfloat16):
    """Every matrix of a bank by the norm of the first, and no rounds."""
    first = g.flatten(0, -3)[0] if g.ndim > 2 else g
    return (g / first.norm()).to(dtype)


def _into_the_argument(g, steps=5, dtype=torch.bfloat16):
    return g.copy_(newton_schulz(g, steps, torch.float32))


def _rank_one(g, steps=5, dtype=torch.bfloat16):
    u, _, vt = torch.linalg.svd(g.float(), full_matrices=False)
    return (u[..., :1] @ vt[..., :1, :]).to(dtype)


def _only_the_first(g, steps=5, dtype=torch.bfloat16):
    out = newton_schulz(g, steps, dtype)
    if g.ndim > 2:
        out[1:] = 0
    return out


def newton_schulz_probes() -> list[Case]:
    drawn = torch.Generator().manual_seed(0)
    changes: dict[str, Callable] = {
        "a piece that gives zeros": lambda out: 0 * out,
        "a piece that gives ones": torch.ones_like,
        "a piece of another shape": lambda out: out[..., :1],
        "a piece that gives nan": lambda out: out * math.nan,
        "a piece that gives the negative": lambda out: -out,
        "a piece that gives a thousand times as much": lambda out: 1000 * out,
        "a piece that gives half as much": lambda out: out / 2,
        "a piece that exchanges the matrices of a bank": lambda out: out.flip(0) if out.ndim > 2 else out,
        "a piece that gives other numbers each time": lambda out: (
            out + torch.randn(out.shape, generator=drawn)  # torch's own is left to the test
        ),
    }
    others: dict[str, Callable] = {
        "a piece that is right for the first matrix of a bank only": _only_the_first,
        "a piece that divides by the norm, and no more": lambda g, steps, dtype: (
            g / g.norm(dim=(-2, -1), keepdim=True)
        ).to(dtype),
        "a piece that divides by the norm of the first matrix": _by_the_first,
        "a piece with the textbook's cubic": _cubic,
        "a piece that gives its input": lambda g, steps, dtype: g.to(dtype, copy=True),
        "a piece that keeps one direction only": _rank_one,
        "a piece that writes into its argument": _into_the_argument,
        "a piece that gives nothing": give_nothing,
    }
    # What tells most comes first: a panel names three of those that pass.
    found = others | {says: _changed(change) for says, change in changes.items()}
    return [probe(says, piece) for says, piece in found.items()]


# ---------------------------------------------------------------- test_sound_muon


class _Plain(torch.optim.Optimizer):
    """An optimizer that adds lr times `move(gradient)` to every parameter."""

    move: Callable[[Tensor], Tensor]

    def __init__(self, groups, lr, **_):
        super().__init__(groups, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(type(self).move(p.grad), alpha=group["lr"])


def _moving(move: Callable[[Tensor], Tensor]) -> type:
    return type("Moving", (_Plain,), {"move": staticmethod(move)})


def _by_rows(g: Tensor) -> Tensor:
    return -g / g.norm(dim=-1, keepdim=True).clamp(min=1e-8)


def _rms(g: Tensor) -> Tensor:
    return -0.2 * g / g.square().mean().sqrt().clamp(min=1e-8)


class _MuonOfOneDirection(MuonByParameter):
    def orthogonal(self, matrices, group):
        return _rank_one(matrices, dtype=matrices.dtype)


class _MuonThatOnlyDecays(MuonByParameter):
    def apply(self, p, update, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])


class _MuonUpwards(MuonByParameter):
    def orthogonal(self, matrices, group):
        return -orthogonal_by_svd(matrices, dtype=matrices.dtype)


class _MuonBySVD(MuonByParameter):
    def orthogonal(self, matrices, group):
        return orthogonal_by_svd(matrices, dtype=matrices.dtype)


class _MuonBySVDWithoutScale(_MuonBySVD):
    def scale(self, matrices):
        return 1.0


def _without_rate(kind: type) -> type:
    """An optimizer whose updates are not multiplied by the rate."""

    def apply(self, p, update, group):
        p.sub_(update)

    return type("WithoutRate", (kind,), {"apply": apply})


class _MuonThatForgets(_MuonBySVD):
    """An optimizer that puts the update in the parameter's place."""

    def apply(self, p, update, group):
        p.copy_(-group["lr"] * update)


class _MuonOfBits(MuonByParameter):
    """The core's numbers, off by a thousandth."""

    def orthogonal(self, matrices, group):
        return super().orthogonal(matrices, group) * 1.001


def muon_probes() -> list[Case]:
    moves: dict[str, Callable] = {
        "an optimizer that does nothing": torch.zeros_like,
        "an optimizer that climbs": torch.clone,
        "plain gradient descent": torch.neg,
        "an optimizer that makes every row as long": _by_rows,
        "gradient descent with an RMS of 0.2": _rms,
        "an optimizer that moves all numbers up": lambda g: g.abs(),
        "an optimizer that gives nan": lambda g: g * math.nan,
        "an optimizer that moves by the same whatever the gradient": torch.ones_like,
        "an optimizer that leaves the first row as it is": lambda g: -g * (torch.arange(len(g)) > 0)[:, None],
        "an optimizer that moves by chance": lambda g: torch.randn(g.shape),
    }
    found = {says: _moving(move) for says, move in moves.items()} | {
        "Muon without scale": MuonWithoutScale.wrong,
        "Muon by singular value decomposition, without scale": _MuonBySVDWithoutScale,
        "Muon by singular value decomposition, without scale and rate": _without_rate(_MuonBySVDWithoutScale),
        "Muon by singular value decomposition, without rate": _without_rate(_MuonBySVD),
        "Muon that only decays": _MuonThatOnlyDecays,
        "Muon that climbs": _MuonUpwards,
        "Muon that keeps one direction only": _MuonOfOneDirection,
        "Muon that is off by a thousandth": _MuonOfBits,
    }
    # Most tests begin at 0, where it is sound: of others it says something for this mistake alone.
    forgets = Case("an optimizer that forgets the parameter", (_MuonThatForgets,), judged=False, aside=True)
    return [*(probe(says, piece) for says, piece in found.items()), forgets]


# ---------------------------------------------------------------- test_sound_clip


def _scaling(factor: Callable[[Tensor, float], Tensor]) -> Callable:
    """A clip that multiplies the heads' logits by `factor(largest, tau)`, on the query's side."""

    @torch.no_grad()
    def clip(layer: MultiHeadLatentAttention, max_qk_logit: Tensor, tau: float) -> None:
        q_proj = layer.q_proj if layer.cfg.q_lora_rank is None else layer.q_b_proj
        q_proj.weight.unflatten(0, (layer.n_heads, -1)).mul_(factor(max_qk_logit, tau)[:, None, None])

    return clip


def _g(largest: Tensor, tau: float) -> Tensor:
    return tau / largest.clamp(min=tau)


@torch.no_grad()
def _of_the_shared_key(layer: MultiHeadLatentAttention, max_qk_logit: Tensor, tau: float) -> None:
    layer.kv_a_proj.weight.mul_(_g(max_qk_logit, tau).min())


@torch.no_grad()
def _of_the_values(layer: MultiHeadLatentAttention, max_qk_logit: Tensor, tau: float) -> None:
    MultiHeadLatentAttention.clip_qk_(layer, max_qk_logit, tau)
    layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1))[:, layer.cfg.qk_nope_head_dim :].mul_(0.5)


def clip_probes() -> list[Case]:
    factors: dict[str, Callable] = {
        "a clip of zero": lambda largest, tau: 0 * largest,
        "a clip that makes logits larger": lambda largest, tau: 10 + 0 * largest,
        "a clip that takes 1% off": lambda largest, tau: torch.where(largest > tau, 0.99, 1.0),
        "a clip to a hair above tau": lambda largest, tau: torch.where(
            largest > tau, 1.02 * tau / largest, 1.0
        ),
        "a clip to half of tau": lambda largest, tau: torch.where(largest > tau, 0.5 * tau / largest, 1.0),
        "a clip of the heads below tau too": lambda largest, tau: 0.9 * _g(largest, tau),
        "a clip of the heads below tau alone": lambda largest, tau: torch.where(largest > tau, 1.0, 0.5),
        "a clip of the largest head alone": lambda largest, tau: torch.where(
            largest == largest.max(), _g(largest, tau), 1.0
        ),
        "a clip that gives nan": lambda largest, tau: largest * math.nan,
        "a clip by tau / largest²": lambda largest, tau: _g(largest, tau) ** 2,
    }
    found = {says: _scaling(factor) for says, factor in factors.items()} | {
        "a clip that does nothing": lambda *_: None,
        "a clip of every head to tau": clip_qk_that_blows_up.wrong,
        "a clip of every head by the same factor": clip_qk_of_every_head.wrong,
        "a clip of the key that all heads share": _of_the_shared_key,
        "a clip of the values too": _of_the_values,
    }
    return [probe(says, piece) for says, piece in found.items()]
