"""The known wrong answers to KimiBlock, of notebook 06, that lose what the parts report or run a part twice."""

from lab_utils.course.exercise import mistake
from nanokimi.kimi import KimiBlock as CoreBlock
from nanokimi.moe import MoE as CoreMoE


class Block(CoreBlock):
    """Attention and feed-forward as the core has them, for the wrong wirings below."""

    def attend(self, x, rotation, cache, with_max):
        return self.self_attn(x, rotation, cache, with_max)

    def feed_forward(self, h):
        return self.mlp(h) if isinstance(self.mlp, CoreMoE) else (self.mlp(h), None)


@mistake(
    "The largest logits are never asked for: `with_max_qk_logit` does not reach the attention.",
    "Follow the argument `with_max_qk_logit` through your code.",
)
class BlockWithoutLargestLogits(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, cache, False)


@mistake(
    "The largest logits are always computed, also where nobody asks for them.",
    "Follow the argument `with_max_qk_logit` through your code.",
)
class BlockAlwaysWithLargestLogits(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, cache, True)


@mistake(
    "The router's stats are lost: None comes back for a layer of experts.",
    "What does self.mlp(h) return there?",
)
class BlockLosingTheStats(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        y, _, largest = super().forward(x, rotation, cache, with_max_qk_logit)
        return y, None, largest


@mistake(
    "Second and third result are exchanged: the router's stats come before the largest logits.",
    "In which order does the docstring name the three?",
)
class BlockWithResultsExchanged(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        y, stats, largest = super().forward(x, rotation, cache, with_max_qk_logit)
        return y, largest, stats


@mistake(
    "A layer of experts runs twice, once for y and once for the stats. Both come back from one call.",
    "How often does `self.mlp(` stand in your forward?",
)
class BlockRunningTheExpertsTwice(Block):
    def feed_forward(self, h):
        return (self.mlp(h)[0], self.mlp(h)[1]) if isinstance(self.mlp, CoreMoE) else (self.mlp(h), None)

    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The attention runs twice, once for its output and once for the largest logits. A cache would store every token "
    "twice.",
    "How often does `self.self_attn(` stand in your forward?",
)
class BlockRunningTheAttentionTwice(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        y, stats, _ = super().forward(x, rotation, cache, with_max_qk_logit)
        again = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        return y, stats, again.max_qk_logit


FACTS = (
    BlockWithoutLargestLogits,
    BlockAlwaysWithLargestLogits,
    BlockLosingTheStats,
    BlockWithResultsExchanged,
    BlockRunningTheExpertsTwice,
    BlockRunningTheAttentionTwice,
)
