"""The known wrong answers to MoE, of notebook 06."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch06_model.mistakes.moe_stats import STATS
from lab_utils.course.exercise import mistake
from nanokimi.moe import MoE as CoreMoE
from nanokimi.moe import dispatch
from nanokimi.router import scaling_factor, topk_route


def run_routed(moe, x, stats, weights=None):
    weights = stats.weights if weights is None else weights
    flat = (t.flatten(0, 1) for t in (x, stats.expert_idx, weights))
    return dispatch(*flat, moe.experts).view_as(x)


@mistake(
    "The shared experts are multiplied by the routed scaling factor as well. They have no weight: they are added as "
    "they are.",
    "Which part of y = sum w·expert(x) + shared(x) does `routed_scaling_factor` belong to?",
)
class MoEScalingTheShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats)
        if self.shared_experts is not None:
            y = y + scaling_factor(self.cfg) * self.shared_experts(x)
        return y, stats


@mistake(
    "The shared experts are left out.",
    "Which of the layer's parameters makes no difference in your forward?",
)
class MoEWithoutShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        return run_routed(self, x, stats), stats


@mistake(
    "The chosen experts are added without their weights.",
    "What are `stats.weights` for?",
)
class MoEWithoutWeights(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats, torch.ones_like(stats.weights))
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The token is multiplied by its weight before the expert. The expert is not linear: that is another function.",
    "Is expert(w·x) the same as w·expert(x)?",
)
class MoEWeightingTheInput(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = torch.zeros_like(x)
        for k in range(self.cfg.top_k):
            idx = stats.expert_idx[..., k : k + 1].flatten(0, 1)
            scaled = (x * stats.weights[..., k : k + 1]).flatten(0, 1)
            y = y + dispatch(scaled, idx, torch.ones_like(idx, dtype=x.dtype), self.experts).view_as(x)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The shared experts read the routed output, not the token: the two run one after the other.",
    "What goes into shared(·) in the formula?",
)
class MoEInSeries(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats)
        return (y if self.shared_experts is None else y + self.shared_experts(y)), stats


@mistake(
    "x is added inside the layer. The block adds x; here x would be added twice.",
    "What does the layer return for a token whose experts all give 0?",
)
class MoEWithResidual(CoreMoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return x + y, stats


@mistake(
    "The routed sum is multiplied by the scaling factor once more. `stats.weights` hold it already.",
    "What do the weights of one token add up to, 1 or the factor?",
)
class MoEScalingTwice(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = scaling_factor(self.cfg) * run_routed(self, x, stats)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "What comes back is the routed output after the shared experts; the routed output itself is not added.",
    "What goes into shared(·) in the formula, and what is it added to?",
)
class MoEThroughTheShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats)
        return (y if self.shared_experts is None else self.shared_experts(y)), stats


@mistake(
    "No gradient goes through the weights: they are detached. The router learns through them.",
    "Which path leads from the loss to `gate`?",
)
class MoEWithDetachedWeights(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats, stats.weights.detach())
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The weights are divided by their sum, and the scaling factor is lost. `stats.weights` are ready for use.",
    "What do the weights of one token add up to, 1 or the factor?",
)
class MoENormalisingAgain(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats, stats.weights / stats.weights.sum(dim=-1, keepdim=True))
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "It is the mean of the routed and the shared output, not their sum.", "Is there a 1/2 in the formula?"
)
class MoEAveraging(CoreMoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return (y if self.shared_experts is None else y / 2), stats


@mistake(
    "The shared output is multiplied by the number of shared experts. One SwiGLU, wide enough, holds all of them.",
    "How wide is self.shared_experts for n_shared_experts = 2?",
)
class MoECountingTheShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats)
        return (y + self.cfg.n_shared_experts * self.shared_experts(x) if self.shared_experts else y), stats


@mistake(
    "`self.shared_experts` is called although it is None: a layer may have no shared expert.",
    "What does the constructor put there for n_shared_experts = 0?",
)
class MoEAlwaysSharing(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        return run_routed(self, x, stats) + self.shared_experts(x), stats


@mistake(
    "The result stays in one row of tokens: batch and sequence are not put back.",
    "Which shape has x, and which shape has y?",
)
class MoELeftFlat(CoreMoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y.flatten(0, 1), stats


@mistake(
    "The tokens go to `dispatch` in another order than the decisions of the router: batch and sequence are exchanged.",
    "Which token stands in row 1 of the flattened x, and which in row 1 of the flattened weights?",
)
class MoEInAnotherOrder(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x.transpose(0, 1).reshape(x.shape), stats)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The tokens go to `dispatch` sequence first, and the decisions of the router batch first; what comes out is put "
    "back as if both had the same order.",
    "Which token stands in row 1 of the flattened x, and which in row 1 of the flattened weights?",
)
class MoEWithRowsOfTheSequenceFirst(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        rows = x.transpose(0, 1)
        flat = (t.flatten(0, 1) for t in (stats.expert_idx, stats.weights))
        y = dispatch(rows.flatten(0, 1), *flat, self.experts).view_as(rows).transpose(0, 1)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The router's logits are computed in `forward` itself, so under autocast in bfloat16. `self.route` keeps them in "
    "float32: rounded scores would flip experts at random.",
    "What does self.route(x) do that your line does not?",
)
class MoERoutingByHand(CoreMoE):
    def forward(self, x):
        stats = topk_route(F.linear(x, self.gate), self.expert_bias, self.cfg)
        y = run_routed(self, x, stats)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "It is the mean over the chosen experts. Their weights are in the sum already: nothing is left to divide by.",
    "What do the weights of one token add up to?",
)
class MoEAveragingTheChosen(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats) / self.cfg.top_k
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The weights are the scores of the chosen experts. `stats.weights` are these scores divided by their sum, times "
    "the scaling factor.",
    "Which field of the stats are the weights of the sum, and which only chooses?",
)
class MoEWithScoresForWeights(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats, stats.scores.gather(-1, stats.expert_idx))
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


@mistake(
    "The shared output is divided by the number of shared experts. One SwiGLU, wide enough, holds all of them: it is "
    "added as it is.",
    "How wide is self.shared_experts for n_shared_experts = 2?",
)
class MoEDividingTheShared(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats)
        return (y + self.shared_experts(x) / self.cfg.n_shared_experts if self.shared_experts else y), stats


@mistake(
    "The weights of a token do not stand beside their experts: they are sorted, and the experts are not.",
    "Which weight belongs to expert_idx[..., 0]?",
)
class MoEWithSortedWeights(CoreMoE):
    def forward(self, x):
        stats = self.route(x)
        y = run_routed(self, x, stats, stats.weights.sort(dim=-1).values)
        return (y if self.shared_experts is None else y + self.shared_experts(x)), stats


MOE = (
    MoEScalingTheShared,
    MoEWithoutShared,
    MoEWithoutWeights,
    MoEWeightingTheInput,
    MoEInSeries,
    MoEWithResidual,
    MoEScalingTwice,
    MoEThroughTheShared,
    MoEWithDetachedWeights,
    MoENormalisingAgain,
    MoEAveraging,
    MoECountingTheShared,
    MoEAlwaysSharing,
    MoELeftFlat,
    MoEInAnotherOrder,
    MoEWithRowsOfTheSequenceFirst,
    MoERoutingByHand,
    MoEAveragingTheChosen,
    MoEWithScoresForWeights,
    MoEDividingTheShared,
    MoEWithSortedWeights,
    *STATS,
)
