"""The exercises of notebook 06: the mixture layer, the block, the model, and what balancing adds to the loss."""

from lab_utils.course.chapters.ch06_model import balance_cases, cases, hunts, mistakes, moe_cases
from lab_utils.course.exercise import Exercise, Property, run_test
from nanokimi.kimi import Kimi, KimiBlock
from nanokimi.loss import balance_term
from nanokimi.moe import MoE

EXERCISES = (
    Exercise(
        name="MoE",
        notebook="06",
        core=MoE,
        cases=moe_cases.moe_cases,
        observe=moe_cases.observe_moe,
        mistakes=mistakes.MOE,
        tolerance=1e-4,
        hints=(
            "Two sums: the chosen experts with their weights, and the shared experts, which every token goes through.",
            "dispatch wants (tokens, ...): flatten batch and sequence of x, expert_idx and weights, and undo it after.",
            "y = dispatch(x.flatten(0, 1), stats.expert_idx.flatten(0, 1), stats.weights.flatten(0, 1), self.experts)",
        ),
        moral="The scaling factor belongs to the routed sum alone, to make it as large as the shared expert's output.",
    ),
    Exercise(
        name="KimiBlock",
        notebook="06",
        core=KimiBlock,
        cases=cases.block_cases,
        observe=cases.observe_block,
        mistakes=mistakes.KIMI_BLOCK,
        tolerance=1e-4,
        properties=(
            Property(
                "a part reads the normed stream, so what it adds does not grow with it", cases.stays_small
            ),
        ),
        hints=(
            "Two lines, each x = x + part(norm(x)); the second starts from the x of the first.",
            "self.self_attn returns an AttentionOutput: its .out is added, its .max_qk_logit returned.",
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
            "Collect the layers' stats, where there are some, in a tuple; torch.stack the largest logits if requested.",
        ),
        moral="A model is its layers in a row. All knowledge of positions comes in through one rotation.",
    ),
    Exercise(
        name="balance_term",
        notebook="06",
        core=balance_term,
        cases=balance_cases.balance_cases,
        observe=balance_cases.terms,
        mistakes=mistakes.BALANCE_TERM,
        hints=(
            "Three losses, each with its coefficient; a coefficient of 0 leaves its loss out.",
            "Mean over layers: add all weighted terms up and divide by the number of layers.",
            "No term and no layer: torch.zeros(()). Otherwise torch.stack(terms).sum() / len(routing).",
        ),
        moral="The layers report, the training decides: no layer knows how strongly it is balanced, or by which loss.",
    ),
    Exercise(
        name="test_sound_block",
        notebook="06",
        core=hunts.test_sound_block,
        cases=hunts.block_cases,
        observe=run_test,
        mistakes=mistakes.BLOCK_TESTS,
        hints=(
            "Where is each matrix made, and how often?",
            "What the optimizer can train is in block.parameters(). What changes from call to call is not.",
            "Call the block twice with the same input and compare.",
        ),
        moral="A layer made in forward is random in each call and never trained; the loss falls since the rest learns.",
    ),
    Exercise(
        name="test_sound_moe",
        notebook="06",
        core=hunts.test_sound_moe,
        cases=hunts.moe_cases,
        observe=run_test,
        mistakes=mistakes.MOE_TESTS,
        hints=(
            "Which experts get a weight from the router, and which serve every token?",
            "Make one of the two sums zero, and you know what the other must be.",
            "With experts.down_proj zero, moe(x)[0] must equal moe.shared_experts(x).",
        ),
        moral="Shared experts carry no weight. Scaled with the rest they are 2.8 times too large at K2's size.",
    ),
)
