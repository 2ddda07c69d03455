"""The known wrong answers to KimiBlock, of notebook 06."""

from lab_utils.course.exercise import mistake
from nanokimi.kimi import KimiBlock as CoreBlock
from nanokimi.moe import MoE as CoreMoE


class _Block(CoreBlock):
    """Attention and feed-forward as the core has them, for the wrong wirings below."""

    def attend(self, x, rotation, cache, with_max):
        return self.self_attn(x, rotation, cache, with_max)

    def feed_forward(self, h):
        return self.mlp(h) if isinstance(self.mlp, CoreMoE) else (self.mlp(h), None)


@mistake(
    "The norms come after the sums (post-norm). Kimi norms what goes into a part, and never the stream itself.",
    "Does the formula norm x itself anywhere?",
)
class BlockPostNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.input_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return self.post_attention_layernorm(x + y), stats, attended.max_qk_logit


@mistake(
    "The stream is replaced by its norm: the output is added to RMS(x), not to x.",
    "To which vector is the attention's output added?",
)
class BlockAddingToTheNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        x = self.input_layernorm(x)
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.post_attention_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The attention's output takes the place of x instead of being added to it.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutFirstResidual(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(attended.out))
        return attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The feed-forward part's output is returned alone, without x.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutSecondResidual(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return y, stats, attended.max_qk_logit


@mistake(
    "Both parts read the same x, side by side. The second must read what the first has added.",
    "Is x the same in both lines of the formula?",
)
class BlockInParallel(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The first norm is used twice, the second never.",
    "Which of the block's weights does your forward never read?",
)
class BlockWithOneNorm(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.input_layernorm(x))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The attention never gets the cache: it stores nothing, and a new token sees none of those before it.",
    "Follow the argument `cache` through your code.",
)
class BlockWithoutCache(_Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, None, with_max_qk_logit)


KIMI_BLOCK = (
    BlockPostNorm,
    BlockAddingToTheNorm,
    BlockWithoutFirstResidual,
    BlockWithoutSecondResidual,
    BlockInParallel,
    BlockWithOneNorm,
    BlockWithoutCache,
)
