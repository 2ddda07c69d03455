"""The known wrong answers to Kimi, of notebook 06."""

from lab_utils.course.chapters.ch06_model.mistakes.kimi_facts import FACTS, WrongKimi
from lab_utils.course.exercise import mistake


@mistake(
    "With a cache every piece begins at the same position. The new tokens come after those in the cache.",
    "With five tokens in the cache, which position has the next one?",
)
class KimiFromPositionZero(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: places - places[0]}


@mistake(
    "With a cache the positions are too small by one: the first new token gets the place of the last stored one.",
    "With five tokens in the cache, at positions 0 to 4, which position has the next one?",
)
class KimiOnePlaceBehind(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: places - (1 if places[0] else 0)}


@mistake(
    "With a cache the positions are too large by one: a place is left free after the stored tokens.",
    "With five tokens in the cache, at positions 0 to 4, which position has the next one?",
)
class KimiOnePlaceAhead(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: places + (1 if places[0] else 0)}


@mistake(
    "With a cache the positions are counted twice: the number of stored tokens is added two times.",
    "With five tokens in the cache, at positions 0 to 4, which position has the next one?",
)
class KimiCountingTheCacheTwice(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: places + places[0]}


@mistake(
    "With a cache the positions begin at the number of layers: `len(cache)` counts layers. `cache[0].length` counts "
    "tokens.",
    "With five tokens in the caches of two layers, which position has the next one?",
)
class KimiFromTheNumberOfLayers(WrongKimi):
    def wrong(self):
        return {
            "positions": lambda places, tokens: places - places[0] + (len(self.layers) if places[0] else 0)
        }


@mistake(
    "The last norm is left out: the head reads the stream without a norm.",
    "Which of the model's weights makes no difference in your forward?",
)
class KimiWithoutFinalNorm(WrongKimi):
    def wrong(self):
        return {"final_norm": False}


@mistake(
    "The head is the embedding table, as in GPT-2. Kimi's head has its own weights.",
    "Which of the model's weights makes no difference in your forward?",
)
class KimiWithTiedHead(WrongKimi):
    def wrong(self):
        return {"tied": True}


@mistake(
    "The embeddings are multiplied by sqrt(d_model), as in the first transformer. Kimi takes them as they are.",
    "Compare the size of x before the first block with that of the table's rows.",
)
class KimiScalingEmbeddings(WrongKimi):
    def wrong(self):
        return {"scale": self.cfg.d_model**0.5}


@mistake(
    "The last layer never runs.",
    "How many times does your loop run for n_layers layers?",
)
class KimiWithoutLastLayer(WrongKimi):
    def wrong(self):
        return {"n_layers": -1}


@mistake(
    "From the second layer on positions are too large: the length is read again in every layer, and the first layer "
    "has stored the new tokens by then.",
    "When is cache[0].length read, and what has the first layer done to it since?",
)
class KimiReadingTheLengthTooLate(WrongKimi):
    def wrong(self):
        return {"after_append": True}


@mistake(
    "A text longer than max_seq_len is accepted. It must raise a ValueError; the tokens in the cache count too.",
    "What happens to token number max_seq_len + 1?",
)
class KimiWithoutALimit(WrongKimi):
    def wrong(self):
        return {"counted": "none"}


@mistake(
    "The limit counts the new tokens only. Those in the cache take places too.",
    "With eleven tokens in the cache and max_seq_len 12: how many may come?",
)
class KimiCountingTheNewTokens(WrongKimi):
    def wrong(self):
        return {"counted": "new"}


@mistake(
    "The limit counts the tokens of all sequences of the batch together. It holds for each sequence.",
    "Which dimension of `tokens` is the sequence?",
)
class KimiCountingTheBatch(WrongKimi):
    def wrong(self):
        return {"counted": "batch"}


@mistake(
    "Too many tokens raise an AssertionError. The docstring asks for a ValueError.",
    "Which kind of error does `raise` take?",
)
class KimiAsserting(WrongKimi):
    def wrong(self):
        return {"error": AssertionError}


@mistake(
    "Too many tokens are refused too late: the layers have run by then, and the cache holds tokens that it should not.",
    "What stands in the cache after your ValueError?",
)
class KimiRefusingTooLate(WrongKimi):
    def wrong(self):
        return {"late": True}


@mistake(
    "As many tokens as max_seq_len are refused. That many fit; one more is too many.",
    "Is it `>` or `>=` that stands before max_seq_len?",
)
class KimiRefusingAFullContext(WrongKimi):
    def wrong(self):
        return {"spare": 1}


@mistake(
    "The cache does not reach the layers: they store nothing, and a new token sees none of those before it.",
    "Follow the argument `cache` through your code.",
)
class KimiWithoutCache(WrongKimi):
    def wrong(self):
        return {"layer_cache": lambda cache, i: None}


@mistake(
    "All layers share the cache of the first one. Each layer has keys of its own, and so a cache of its own.",
    "Which entry of the list `cache` belongs to layer i?",
)
class KimiWithOneCache(WrongKimi):
    def wrong(self):
        return {"layer_cache": lambda cache, i: cache[0]}


@mistake(
    "The ids of the tokens are taken for their positions.",
    "What should torch.arange count, places or words?",
)
class KimiRotatingByTheTokens(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: tokens[0]}


@mistake(
    "All tokens have the same position.",
    "Which positions do the four tokens of a text have?",
)
class KimiWithoutPositions(WrongKimi):
    def wrong(self):
        return {"positions": lambda places, tokens: 0 * places}


@mistake(
    "The last norm is applied after every layer. The stream itself is never normed.",
    "Does `self.norm` stand inside the loop?",
)
class KimiNormingEveryLayer(WrongKimi):
    def wrong(self):
        return {"norms": True, "final_norm": False}


@mistake(
    "The last norm is applied after every layer, and once more at the end. The stream itself is never normed.",
    "Does `self.norm` stand inside the loop?",
)
class KimiNormingEveryLayerAndTheEnd(WrongKimi):
    def wrong(self):
        return {"norms": True}


@mistake(
    "It is the softmax of the logits that comes back. The loss takes logits.",
    "Can a logit be negative?",
)
class KimiGivingProbabilities(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        out = super().forward(tokens, cache, with_max_qk_logit)
        return out._replace(logits=out.logits.softmax(dim=-1))


@mistake(
    "Only the logits of the last position come back. Training needs those of every position.",
    "How many targets does a sequence of n tokens have?",
)
class KimiOfTheLastPosition(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        out = super().forward(tokens, cache, with_max_qk_logit)
        return out._replace(logits=out.logits[:, -1:])


@mistake(
    "With a cache only the logits of the last position come back. A piece of several tokens needs those of each.",
    "Which shape should the logits of a piece of three tokens have?",
)
class KimiOfTheLastPositionWithACache(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        out = super().forward(tokens, cache, with_max_qk_logit)
        return out if cache is None else out._replace(logits=out.logits[:, -1:])


KIMI = (
    KimiFromPositionZero,
    KimiOnePlaceBehind,
    KimiOnePlaceAhead,
    KimiCountingTheCacheTwice,
    KimiFromTheNumberOfLayers,
    KimiWithoutFinalNorm,
    KimiWithTiedHead,
    KimiScalingEmbeddings,
    KimiWithoutLastLayer,
    KimiReadingTheLengthTooLate,
    KimiWithoutALimit,
    KimiCountingTheNewTokens,
    KimiCountingTheBatch,
    KimiAsserting,
    KimiRefusingTooLate,
    KimiRefusingAFullContext,
    KimiWithoutCache,
    KimiWithOneCache,
    KimiRotatingByTheTokens,
    KimiWithoutPositions,
    KimiNormingEveryLayer,
    KimiNormingEveryLayerAndTheEnd,
    KimiGivingProbabilities,
    KimiOfTheLastPosition,
    KimiOfTheLastPositionWithACache,
    *FACTS,
)
