"""The bug hunts of notebook 06: a test that finds each bug, and the pieces that every answer is tried on."""

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch06_model import bugs
from lab_utils.course.chapters.ch06_model.looks import moe_config, numbers
from lab_utils.course.doubles import changing, turn_last_digits, with_other_last_digits
from lab_utils.course.exercise import Case, harsh_
from nanokimi.moe import MoE, dispatch
from nanokimi.router import RouterStats, scaling_factor


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


class BlockWithPlainRepair(nn.Module):
    """A sound block: the piece in the notebook, whose second matrix is made once."""

    def __init__(self, d_model: int):
        super().__init__()
        self.norm = nn.RMSNorm(d_model)
        self.up = nn.Linear(d_model, 2 * d_model, bias=False)
        self.down = nn.Linear(2 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(nn.functional.silu(self.up(self.norm(x))))


class BlockWithBilinearGate(nn.Module):
    """Another sound block, without biases and with a gate."""

    def __init__(self, d_model: int):
        super().__init__()
        self.gate_up = nn.Parameter(torch.eye(d_model).repeat(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        gate, up = (x @ self.gate_up.T).chunk(2, dim=-1)
        return x + gate * up


class BlockWithOneMatrix(nn.Module):
    """A sound block with the weights of the piece in the notebook: the same matrix widens and narrows."""

    def __init__(self, d_model: int):
        super().__init__()
        self.norm = nn.RMSNorm(d_model)
        self.up = nn.Linear(d_model, 2 * d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.silu(self.up(self.norm(x))) @ self.up.weight


class BlockOfBothSigns(nn.Module):
    """A sound block with the weights of the hidden piece: widened by the two signs of its input."""

    def __init__(self, d_model: int):
        super().__init__()
        self.down = nn.Linear(2 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(torch.cat([x, -x], dim=-1)))


class _BlockOfZeros(BlockWithBothProjections):
    def forward(self, x):
        return 0 * x


class _BlockThatCounts(BlockWithBothProjections):
    n_calls = 0

    def forward(self, x):
        self.n_calls += 1
        return super().forward(x) + 1e-3 * self.n_calls


class _BlockOfNothing(BlockWithBothProjections):
    def forward(self, x):
        return None


class _BlockOfHalf(BlockWithBothProjections):
    def forward(self, x):
        return x[..., :4]


class _BlockWithoutWeights(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()

    def forward(self, x):
        return x + torch.relu(x)


class _BlockWithFreshBias(nn.Module):
    def __init__(self, d_model: int):
        super().__init__()
        self.up = nn.Linear(d_model, d_model, bias=False)

    def forward(self, x):
        return x + self.up(x) + torch.randn(x.shape[-1])


def test_sound_moe(moe_class) -> None:
    """Make the routed experts give 0: the shared expert must be left, whatever the weights are."""
    moe = harsh_(moe_class(4, moe_config()))
    with torch.no_grad():
        moe.experts.down_proj.zero_()
        x = numbers(1, 5, 4)
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


class MoEInOneDispatch(MoE):
    """A sound layer: one dispatch for all tokens, and the shared expert before it."""

    def forward(self, x: Tensor) -> tuple[Tensor, RouterStats]:
        stats, shared = self.route(x), self.shared_experts(x)
        flat = (t.flatten(0, 1) for t in (x, stats.expert_idx, stats.weights))
        return shared + dispatch(*flat, self.experts).view_as(x), stats


class _MoEOfZeros(MoE):
    def forward(self, x):
        return 0 * x, self.route(x)


class _MoEOfNothing(MoE):
    def forward(self, x):
        return None, self.route(x)


class _MoEWithoutRouted(MoE):
    def forward(self, x):
        return self.shared_experts(x), self.route(x)


class _MoEWithoutShared(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y - self.shared_experts(x), stats


class _MoEWithAnotherReport(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y, stats._replace(weights=-stats.weights)


class _MoEThatScalesTwice(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y + (scaling_factor(self.cfg) - 1) * (y - self.shared_experts(x)), stats


class _MoEWithoutTheFactor(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y + (1 / scaling_factor(self.cfg) - 1) * (y - self.shared_experts(x)), stats


class _MoEOfNoise(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y + 0.1 * torch.randn_like(y), stats


class _MoEOfSums(MoE):
    def forward(self, x):
        return super().forward(x)[0].sum(dim=-1, keepdim=True), self.route(x)


def block_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.BlockWithProjection,)),
        Case("a hidden piece with the same fault in another matrix", (bugs.BlockWithFreshGate,)),
        Case("a sound piece with two matrices and biases", (BlockWithBothProjections,)),
        Case(
            "a sound piece that is the one above, with its second matrix made once", (BlockWithPlainRepair,)
        ),
        Case("a sound piece with one matrix and a gate", (BlockWithBilinearGate,)),
        Case("a sound piece whose one matrix widens and narrows", (BlockWithOneMatrix,)),
        Case("a sound piece with one matrix that narrows", (BlockOfBothSigns,)),
        Case("a block that gives zeros", (_BlockOfZeros,), judged=False),
        Case("a block of another shape", (_BlockOfHalf,), judged=False),
        Case("a block that has no weights", (_BlockWithoutWeights,), judged=False),
        Case("a block that adds the number of its calls", (_BlockThatCounts,), judged=False),
        Case("a block that draws its bias anew in each call", (_BlockWithFreshBias,), judged=False),
        Case("a block that gives nothing", (_BlockOfNothing,), judged=False),
    ]


def moe_cases() -> list[Case]:
    return [
        Case("the piece above", (bugs.MoEOfAColleague,)),
        Case("a hidden piece with the same fault, written as a sum", (bugs.MoEWithALargeShare,)),
        Case("a hidden piece with the same fault, by another factor", (bugs.MoEWithASmallShare,)),
        Case("a hidden piece with the same fault, twice", (bugs.MoEWithAMuchLargerShare,)),
        Case(
            "a hidden piece with the same fault, by a factor close to 1", (bugs.MoEWithASlightlyLargerShare,)
        ),
        *with_other_last_digits(
            [
                Case("the core's MoE", (MoE,)),
                Case("a sound piece that runs expert after expert", (MoETokenByToken,)),
                Case("a sound piece that begins with the shared expert", (MoEInOneDispatch,)),
            ],
            changing(lambda found, *_: (turn_last_digits(found[0]), found[1])),
        ),
        Case("a layer that gives zeros", (_MoEOfZeros,), judged=False),
        Case("a layer without its routed experts", (_MoEWithoutRouted,), judged=False),
        Case("a layer without its shared expert", (_MoEWithoutShared,), judged=False),
        Case("a layer that reports other weights", (_MoEWithAnotherReport,), judged=False),
        Case("a layer that gives other numbers in each call", (_MoEOfNoise,), judged=False),
        Case("a layer of another shape", (_MoEOfSums,), judged=False),
        Case("a layer that gives nothing", (_MoEOfNothing,), judged=False),
        # A test that makes another mistake says of these now this and now that, by its numbers.
        Case("a layer that scales its routed part twice", (_MoEThatScalesTwice,), judged=False, aside=True),
        Case(
            "a layer whose routed part is without the factor",
            (_MoEWithoutTheFactor,),
            judged=False,
            aside=True,
        ),
    ]
