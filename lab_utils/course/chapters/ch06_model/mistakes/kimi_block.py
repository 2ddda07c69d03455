"""The known wrong answers to KimiBlock, of notebook 06."""

from lab_utils.course.chapters.ch06_model.mistakes.block_facts import FACTS, Block
from lab_utils.course.exercise import mistake


@mistake(
    "The norms come after the sums (post-norm). Kimi norms what goes into a part, and never the stream itself.",
    "Does the formula norm x itself anywhere?",
)
class BlockPostNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.input_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return self.post_attention_layernorm(x + y), stats, attended.max_qk_logit


@mistake(
    "The stream is replaced by its norm: the output is added to RMS(x), not to x.",
    "To which vector is the attention's output added?",
)
class BlockAddingToTheNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        x = self.input_layernorm(x)
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = self.post_attention_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return x + y, stats, attended.max_qk_logit


@mistake(
    "In the first line the stream is replaced by its norm: the attention's output is added to RMS(x), not to x.",
    "To which vector is the attention's output added?",
)
class BlockAddingToTheFirstNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        x = self.input_layernorm(x)
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "In the second line the stream is replaced by its norm: the feed-forward output is added to RMS(x), not to x.",
    "To which vector is the output of the feed-forward part added?",
)
class BlockAddingToTheSecondNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = self.post_attention_layernorm(x + attended.out)
        y, stats = self.feed_forward(x)
        return x + y, stats, attended.max_qk_logit


@mistake(
    "Each sum is divided by the square root of 2. Kimi adds, and leaves the stream as it is.",
    "Is there a factor in the formula of a block?",
)
class BlockDividingTheSums(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = (x + attended.out) / 2**0.5
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return (x + y) / 2**0.5, stats, attended.max_qk_logit


@mistake(
    "The attention's output takes the place of x instead of being added to it.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutFirstResidual(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(attended.out))
        return attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The feed-forward part's output is returned alone, without x.",
    "How many plus signs does the formula of a block have?",
)
class BlockWithoutSecondResidual(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return y, stats, attended.max_qk_logit


@mistake(
    "Both parts read the same vector, the norm for the attention. The feed-forward part has a norm of its own, of the "
    "stream to which the attention's output was added.",
    "Which of the two norms is left over in your forward?",
)
class BlockInParallelWithOneNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        normed = self.input_layernorm(x)
        attended = self.attend(normed, rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(normed)
        return x + attended.out + y, stats, attended.max_qk_logit


@mistake(
    "Both parts read the same x, side by side. The second must read what the first has added.",
    "Is x the same in both lines of the formula?",
)
class BlockInParallel(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + attended.out + y, stats, attended.max_qk_logit


@mistake(
    "The first norm is used twice, the second never.",
    "Which of the block's weights makes no difference in your forward?",
)
class BlockWithOneNorm(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.input_layernorm(x))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The attention never gets the cache: it stores nothing, and a new token sees none of those before it.",
    "Follow the argument `cache` through your code.",
)
class BlockWithoutCache(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, None, with_max_qk_logit)


def _wired(first=True, second=True, swapped=False):
    """A block's forward with one or both norms left out, or exchanged."""

    def forward(self, x, rotation, cache, with_max_qk_logit):
        norms = [self.input_layernorm, self.post_attention_layernorm][:: -1 if swapped else 1]
        attended = self.attend(norms[0](x) if first else x, rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(norms[1](x) if second else x)
        return x + y, stats, attended.max_qk_logit

    return forward


@mistake(
    "The attention reads the stream without a norm.",
    "Which of the block's weights makes no difference in your forward?",
)
class BlockWithoutFirstNorm(Block):
    forward = _wired(first=False)


@mistake(
    "The feed-forward part reads the stream without a norm.",
    "Which of the block's weights makes no difference in your forward?",
)
class BlockWithoutSecondNorm(Block):
    forward = _wired(second=False)


@mistake(
    "Both parts read the stream without a norm.",
    "Which of the block's weights makes no difference in your forward?",
)
class BlockWithoutNorms(Block):
    forward = _wired(first=False, second=False)


@mistake(
    "The two norms are exchanged: input_layernorm belongs to the attention, the other one to what follows.",
    "Which norm does its name put after the attention?",
)
class BlockWithNormsExchanged(Block):
    forward = _wired(swapped=True)


@mistake(
    "Two things: the two norms are exchanged, and the attention never gets the cache.",
    "Which norm does its name put after the attention? Then follow the argument `cache` through your code.",
)
class BlockWithNormsExchangedAndNoCache(BlockWithNormsExchanged.wrong):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        return super().forward(x, rotation, None, with_max_qk_logit)


@mistake(
    "The feed-forward part comes first, and the attention after it.",
    "Which line of the formula is the first?",
)
class BlockInTheOtherOrder(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        x = x + y
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        return x + attended.out, stats, attended.max_qk_logit


@mistake(
    "In the end the block's first input is added, not the stream with the attention's output in it.",
    "To which x does the second line of the formula add?",
)
class BlockForgettingTheAttention(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(x + attended.out))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "What the parts give is normed, and what they read is not. Kimi norms what a part reads.",
    "On which side of attention(·) does RMS stand in the formula?",
)
class BlockNormingTheOutputs(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(x, rotation, cache, with_max_qk_logit)
        x = x + self.input_layernorm(attended.out)
        y, stats = self.feed_forward(x)
        return x + self.post_attention_layernorm(y), stats, attended.max_qk_logit


@mistake(
    "The second norm is applied to what the attention gives, and the feed-forward part reads the stream without one. "
    "Both norms belong before a part.",
    "On which side of attention(·) and of FFN(·) does RMS stand in the formula?",
)
class BlockNormingAfterTheAttention(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + self.post_attention_layernorm(attended.out)
        y, stats = self.feed_forward(x)
        return x + y, stats, attended.max_qk_logit


@mistake(
    "The feed-forward part reads what the attention gives, without the stream it was added to.",
    "What is x in the second line of the formula?",
)
class BlockReadingTheAttentionAlone(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        y, stats = self.feed_forward(self.post_attention_layernorm(attended.out))
        return x + attended.out + y, stats, attended.max_qk_logit


@mistake(
    "It writes into x, which belongs to the caller. `x = x + ...` makes a new tensor, `x += ...` does not.",
    "What does the caller find in its x afterwards?",
)
class BlockWritingIntoTheStream(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x += attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + y, stats, attended.max_qk_logit


@mistake(
    "No gradient goes through the attention to x: what it reads is detached.",
    "How does a layer below learn what the attention of this one needs?",
)
class BlockWithADetachedStream(Block):
    def forward(self, x, rotation, cache, with_max_qk_logit):
        attended = self.attend(self.input_layernorm(x.detach()), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        y, stats = self.feed_forward(self.post_attention_layernorm(x))
        return x + y, stats, attended.max_qk_logit


KIMI_BLOCK = (
    BlockPostNorm,
    BlockAddingToTheNorm,
    BlockAddingToTheFirstNorm,
    BlockAddingToTheSecondNorm,
    BlockDividingTheSums,
    BlockWithoutFirstResidual,
    BlockWithoutSecondResidual,
    BlockInParallel,
    BlockInParallelWithOneNorm,
    BlockWithOneNorm,
    BlockWithoutCache,
    BlockWithoutFirstNorm,
    BlockWithoutSecondNorm,
    BlockWithoutNorms,
    BlockWithNormsExchanged,
    BlockWithNormsExchangedAndNoCache,
    BlockInTheOtherOrder,
    BlockForgettingTheAttention,
    BlockNormingTheOutputs,
    BlockNormingAfterTheAttention,
    BlockReadingTheAttentionAlone,
    BlockWritingIntoTheStream,
    BlockWithADetachedStream,
    *FACTS,
)
