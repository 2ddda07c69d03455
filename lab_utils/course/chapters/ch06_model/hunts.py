"""The bug hunts of notebook 06: a test that finds each bug, and the pieces that every answer is tried on."""

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch06_model import bugs, cases
from lab_utils.course.exercise import Case, harsh_
from nanokimi.moe import MoE, dispatch
from nanokimi.router import RouterStats


def test_sound_block(make_block) -> None:
    """Two calls with one input must agree: a weight that is drawn in every call is in no optimizer."""
    block = make_block(8)
    x = torch.linspace(-1, 1, 8)[None]
    assert torch.allclose(block(x), block(x))


class BlockWithBothProjections(nn.Module):
    """A sound block: both of its matrices are made once."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up = nn.Linear(d_model, 2 * d_model)
        self.down = nn.Linear(2 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class BlockWithBilinearGate(nn.Module):
    """Another sound block, without biases and with a gate."""

    def __init__(self, d_model: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.eye(d_model).repeat(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        gate, up = (x @ self.gate_up.T).chunk(2, dim=-1)
        return x + gate * up


class _BlockOfZeros(BlockWithBothProjections):
    def forward(self, x):
        return 0 * x


class _BlockOfHalf(BlockWithBothProjections):
    def forward(self, x):
        return x[..., :4]


class _BlockWithoutWeights(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()

    def forward(self, x):
        return x + torch.relu(x)


def test_sound_moe(moe_class) -> None:
    """Make the routed experts give 0: the shared expert must be left, whatever the weights are."""
    moe = harsh_(moe_class(4, cases.moe_config()))
    with torch.no_grad():
        moe.experts.down_proj.zero_()
        x = cases.numbers(1, 5, 4)
        assert torch.allclose(moe(x)[0], moe.shared_experts(x), atol=1e-5)


class MoETokenByToken(MoE):
    """A sound layer that runs one expert for all tokens that chose it, expert after expert."""

    def forward(self, x: Tensor) -> tuple[Tensor, RouterStats]:
        stats = self.route(x)
        y = self.shared_experts(x)
        for e in range(self.cfg.n_routed_experts):
            weight = (stats.weights * (stats.expert_idx == e)).sum(dim=-1, keepdim=True)
            idx = torch.full((x.shape[0] * x.shape[1], 1), e)
            y = y + weight * dispatch(x.flatten(0, 1), idx, torch.ones(idx.shape), self.experts).view_as(x)
        return y, stats


class _MoEOfZeros(MoE):
    def forward(self, x):
        return 0 * x, self.route(x)


class _MoEWithoutRouted(MoE):
    def forward(self, x):
        return self.shared_experts(x), self.route(x)


class _MoEOfSums(MoE):
    def forward(self, x):
        return super().forward(x)[0].sum(dim=-1, keepdim=True), self.route(x)


def block_cases() -> list[Case]:
    return [
        Case("the broken piece", (bugs.BlockWithProjection,)),
        Case("a sound block", (BlockWithBothProjections,)),
        Case("another sound block", (BlockWithBilinearGate,)),
        Case("a block that gives zeros", (_BlockOfZeros,), judged=False),
        Case("a block of another shape", (_BlockOfHalf,), judged=False),
        Case("a block that has no weights", (_BlockWithoutWeights,), judged=False),
    ]


def moe_cases() -> list[Case]:
    return [
        Case("the broken piece", (bugs.MoEOfAColleague,)),
        Case("the core's MoE", (MoE,)),
        Case("a sound layer, expert after expert", (MoETokenByToken,)),
        Case("a layer that gives zeros", (_MoEOfZeros,), judged=False),
        Case("a layer without its routed experts", (_MoEWithoutRouted,), judged=False),
        Case("a layer of another shape", (_MoEOfSums,), judged=False),
    ]
