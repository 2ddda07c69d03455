"""The exercises of notebook 06: the mixture layer, the block, the model, and what balancing adds to the loss."""

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch06_model import bugs, cases
from lab_utils.course.chapters.ch06_model.mistakes import model as mistakes
from lab_utils.course.chapters.ch06_model.mistakes import weak_tests as model_tests
from lab_utils.course.exercise import Case, Exercise, Property, verdict
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.moe import MoE, dispatch
from nanokimi.router import RouterStats
from nanokimi.train import balance_term

# ---------------------------------------------------------------- find the bug


def test_sound_block(make_block) -> None:
    """Two calls with one input must agree: a weight drawn anew in every call belongs to nobody's optimizer."""
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
    """Silence the routed experts: what is left must be the shared expert, whatever the weights are."""
    moe = cases.harsh(moe_class(4, cases.moe_config()))
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


EXERCISES = (
    Exercise(
        name="MoE",
        notebook="06",
        core=MoE,
        cases=cases.moe_cases,
        observe=cases.observe_moe,
        mistakes=mistakes.MOE,
        tolerance=1e-4,
        hints=(
            "Two sums: the chosen experts with their weights, and the shared experts, which every token goes through.",
            "dispatch wants (tokens, ...): flatten batch and sequence of x, expert_idx and weights, and undo it after.",
            "y = dispatch(x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), self.experts)",
        ),
        moral="The scaling factor belongs to the routed sum alone: it makes the sum as loud as the shared expert.",
    ),
    Exercise(
        name="KimiBlock",
        notebook="06",
        core=KimiBlock,
        cases=cases.block_cases,
        observe=cases.observe_block,
        mistakes=mistakes.BLOCK,
        tolerance=1e-4,
        properties=(
            Property(
                "a part reads the normed stream, so what it adds does not grow with it", cases.stays_small
            ),
        ),
        hints=(
            "Two lines, each x = x + part(norm(x)); the second starts from the x of the first.",
            "self.self_attn returns an AttentionOutput: its .out is added, its .max_qk_logit handed on.",
            "Only a mixture of experts returns (y, stats): test isinstance(self.mlp, MoE); a dense layer has no stats.",
        ),
        moral="The stream itself is never normed inside the model: every part adds to it, and gradients flow through.",
    ),
    Exercise(
        name="Kimi",
        notebook="06",
        core=Kimi,
        cases=cases.kimi_cases,
        observe=cases.observe_kimi,
        mistakes=mistakes.KIMI,
        tolerance=1e-4,
        hints=(
            "Embed, run every layer, norm, head. What remains is the positions, and handing each layer its cache.",
            "With a cache the new tokens begin at position cache[0].length; rotations(positions, ...) turns them.",
            "Collect stats of the layers that have them in a tuple; torch.stack the largest logits where asked for.",
        ),
        moral="A model is its layers in a row. All knowledge of positions comes in through one rotation.",
    ),
    Exercise(
        name="balance_term",
        notebook="06",
        core=balance_term,
        cases=cases.balance_cases,
        observe=cases.terms,
        mistakes=mistakes.BALANCE_TERM,
        hints=(
            "Three losses, each with its coefficient; a coefficient of 0 leaves its loss out.",
            "Mean over layers: add all weighted terms up and divide by the number of layers.",
            "No term and no layer: torch.zeros(()). Otherwise torch.stack(terms).sum() / len(routing).",
        ),
        moral="The layers report, the training decides: what is switched off costs nothing, not even a product.",
    ),
    Exercise(
        name="test_sound_block",
        notebook="06",
        core=test_sound_block,
        cases=lambda: [
            Case("the broken piece", (bugs.BlockWithProjection,)),
            Case("a sound block", (BlockWithBothProjections,)),
            Case("another sound block", (BlockWithBilinearGate,)),
            Case("a block that gives zeros", (_BlockOfZeros,), judged=False),
            Case("a block of another shape", (_BlockOfHalf,), judged=False),
            Case("a block that has no weights", (_BlockWithoutWeights,), judged=False),
        ],
        observe=verdict,
        mistakes=model_tests.BLOCK_TESTS,
        hints=(
            "Where is each matrix made, and how often?",
            "What the optimizer can train is in block.parameters(). What changes from call to call is not.",
            "Call the block twice with the same input and compare.",
        ),
        moral="A layer made in forward is random in every call and never trained; the loss falls by what is around it.",
    ),
    Exercise(
        name="test_sound_moe",
        notebook="06",
        core=test_sound_moe,
        cases=lambda: [
            Case("the broken piece", (bugs.MoEOfAColleague,)),
            Case("the core's MoE", (MoE,)),
            Case("a sound layer, expert after expert", (MoETokenByToken,)),
            Case("a layer that gives zeros", (_MoEOfZeros,), judged=False),
            Case("a layer without its routed experts", (_MoEWithoutRouted,), judged=False),
            Case("a layer of another shape", (_MoEOfSums,), judged=False),
        ],
        observe=verdict,
        mistakes=model_tests.MOE_TESTS,
        hints=(
            "Which experts does the weight of the router belong to, and which are there for every token?",
            "Make one of the two sums vanish, and you know what the other must be.",
            "With experts.down_proj zero, moe(x)[0] must equal moe.shared_experts(x).",
        ),
        moral="Shared experts carry no weight. Scaled with the rest they are 2.8 times too loud at K2's size.",
    ),
)
