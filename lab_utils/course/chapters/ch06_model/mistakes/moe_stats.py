"""The known wrong answers to MoE, of notebook 06, about the stats that come back."""

from lab_utils.course.exercise import mistake
from nanokimi.moe import MoE as CoreMoE


@mistake(
    "The stats that come back are detached: no loss of balancing can reach the router.",
    "How does the gradient of the z-loss get to `gate`?",
)
class MoEReportingDetachedStats(CoreMoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return y, stats._replace(logits=stats.logits.detach(), scores=stats.scores.detach())


OF_ONE_ROW = (
    "The stats that come back are those of one row of tokens: batch and sequence are not put back.",
    "Which shape should stats.weights have for x of shape (batch, seq, d_model)?",
)


@mistake(*OF_ONE_ROW)
class MoEReportingFlatStats(CoreMoE):
    def forward(self, x):
        y, _ = super().forward(x)
        return y, self.route(x.reshape(1, -1, x.shape[-1]))


@mistake(*OF_ONE_ROW)
class MoEReportingStatsOfRows(CoreMoE):
    def forward(self, x):
        y, _ = super().forward(x)
        return y, self.route(x.flatten(0, 1))


STATS = (
    MoEReportingDetachedStats,
    MoEReportingFlatStats,
    MoEReportingStatsOfRows,
)
