"""The known wrong answers to Kimi, of notebook 06."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.kimi import Kimi as CoreKimi
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations


class _Kimi(CoreKimi):
    """The core's model with a forward in which `wrong` says what to do wrongly."""

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return kimi_forward(self, tokens, cache, with_max_qk_logit, **self.wrong())


def kimi_forward(
    self, tokens, cache, with_max, from_zero=False, final_norm=True, n_layers=None, tied=False, scale=1.0,
    after_append=False, unlimited=False,
):  # fmt: skip
    start = cache[0].length if cache else 0
    end = start + tokens.shape[1]
    if end > self.cfg.max_seq_len and not unlimited:
        raise ValueError
    x = self.embed_tokens(tokens) * scale
    routing, maxima = [], []
    for i, layer in enumerate(self.layers[:n_layers]):
        first = cache[0].length if cache and after_append else 0 if from_zero else start
        positions = torch.arange(first, first + tokens.shape[1])
        rotation = rotations(positions, self.rope_dim, self.cfg.rope)
        x, stats, layer_max = layer(x, rotation, cache[i] if cache else None, with_max)
        maxima.append(layer_max)
        if stats is not None:
            routing.append(stats)
    head = self.embed_tokens if tied else self.lm_head
    logits = F.linear(self.norm(x) if final_norm else x, head.weight)
    return ModelOutput(logits, tuple(routing), torch.stack(maxima) if with_max else None)


@mistake(
    "Positions start at 0 again with a cache. The new tokens come after those in the cache.",
    "With five tokens in the cache, which position has the next one?",
)
class KimiFromPositionZero(_Kimi):
    def wrong(self):
        return {"from_zero": True}


@mistake(
    "The last norm is left out: the head reads the stream without a norm.",
    "Which of the model's weights does your forward never read?",
)
class KimiWithoutFinalNorm(_Kimi):
    def wrong(self):
        return {"final_norm": False}


@mistake(
    "The head is the embedding table, as in GPT-2. Kimi's head has its own weights.",
    "Which of the model's weights does your forward never read?",
)
class KimiWithTiedHead(_Kimi):
    def wrong(self):
        return {"tied": True}


@mistake(
    "The embeddings are multiplied by sqrt(d_model), as in the first transformer. Kimi takes them as they are.",
    "Compare the size of x before the first block with that of the table's rows.",
)
class KimiScalingEmbeddings(_Kimi):
    def wrong(self):
        return {"scale": self.cfg.d_model**0.5}


@mistake(
    "The last layer never runs.",
    "How many times does your loop run for n_layers layers?",
)
class KimiWithoutLastLayer(_Kimi):
    def wrong(self):
        return {"n_layers": -1}


@mistake(
    "From the second layer on positions are too large: the length is read again in every layer, and the first layer "
    "has stored the new tokens by then.",
    "When is cache[0].length read, and what has the first layer done to it since?",
)
class KimiReadingTheLengthTooLate(_Kimi):
    def wrong(self):
        return {"after_append": True}


@mistake(
    "A text longer than max_seq_len is accepted. It must raise a ValueError; the tokens in the cache count too.",
    "What happens to token number max_seq_len + 1?",
)
class KimiWithoutALimit(_Kimi):
    def wrong(self):
        return {"unlimited": True}


KIMI = (
    KimiFromPositionZero,
    KimiWithoutFinalNorm,
    KimiWithTiedHead,
    KimiScalingEmbeddings,
    KimiWithoutLastLayer,
    KimiReadingTheLengthTooLate,
    KimiWithoutALimit,
)
