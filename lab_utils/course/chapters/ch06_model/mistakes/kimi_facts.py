"""The known wrong answers to Kimi, of notebook 06, that lose or bend what the model reports."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.kimi import Kimi as CoreKimi
from nanokimi.output import ModelOutput
from nanokimi.rope import rotations


class WrongKimi(CoreKimi):
    """The core's model with a forward in which `wrong` says what to do wrongly."""

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return kimi_forward(self, tokens, cache, with_max_qk_logit, **self.wrong())

    def wrong(self):
        return {}


def kimi_forward(
    self, tokens, cache, with_max, positions=None, final_norm=True, n_layers=None, tied=False, scale=1.0,
    after_append=False, counted="all", norms=False, stacked=None, routed=None, layer_cache=lambda cache, i: cache[i],
    error=ValueError, late=False, spare=0,
):  # fmt: skip
    start = cache[0].length if cache else 0
    end = start + tokens.shape[1]
    length = {"all": end, "new": tokens.shape[1], "batch": tokens.numel(), "none": 0}[counted]
    if length > self.cfg.max_seq_len - spare and not late:
        raise error
    x = self.embed_tokens(tokens) * scale
    routing, maxima = [], []
    for i, layer in enumerate(self.layers[:n_layers]):
        first = cache[0].length if cache and after_append else start
        places = torch.arange(first, first + tokens.shape[1])
        rotation = rotations(positions(places, tokens) if positions else places, self.rope_dim, self.cfg.rope)
        x, stats, layer_max = layer(x, rotation, layer_cache(cache, i) if cache else None, with_max)
        x = self.norm(x) if norms else x
        maxima.append(layer_max)
        if stats is not None or routed:
            routing.append(stats)
    if length > self.cfg.max_seq_len - spare:
        raise error
    head = self.embed_tokens if tied else self.lm_head
    logits = F.linear(self.norm(x) if final_norm else x, head.weight)
    largest = (stacked or torch.stack)(maxima) if with_max else None
    return ModelOutput(logits, (routed or tuple)(routing), largest)


@mistake(
    "`routing` has an entry for dense layers too, None. It holds the layers with experts only.",
    "What should balance_term do with None?",
)
class KimiRoutingDenseLayers(WrongKimi):
    def wrong(self):
        return {"routed": tuple}


@mistake(
    "`routing` has the layers in reverse order.",
    "Which layer of experts should routing[0] belong to?",
)
class KimiRoutingReversed(WrongKimi):
    def wrong(self):
        return {"routed": lambda routing: tuple(stats for stats in routing[::-1] if stats is not None)}


@mistake(
    "`routing` is None for a model without experts. It is a tuple there too, an empty one.",
    "What does `tuple(...) or None` give for an empty tuple?",
)
class KimiWithoutRoutingOfDenseLayers(WrongKimi):
    def wrong(self):
        return {"routed": lambda routing: tuple(stats for stats in routing if stats is not None) or None}


@mistake(
    "`routing` holds the last layer of experts alone. Each layer with experts has an entry.",
    "Where do you make the list, before the loop or in it?",
)
class KimiRoutingOfTheLastLayer(WrongKimi):
    def wrong(self):
        return {"routed": lambda routing: tuple([stats for stats in routing if stats is not None][-1:])}


@mistake(
    "The largest logits are computed and returned also where nobody asks for them.",
    "Follow the argument `with_max_qk_logit` through your code.",
)
class KimiAlwaysWithLargestLogits(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return super().forward(tokens, cache, True)


@mistake(
    "The largest logits are never asked for: `with_max_qk_logit` does not reach the layers.",
    "Follow the argument `with_max_qk_logit` through your code.",
)
class KimiWithoutLargestLogits(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        return super().forward(tokens, cache, False)


@mistake(
    "The largest logits are stacked also where they are None, because nobody asked for them.",
    "What does each layer return as its third value, when with_max_qk_logit is False?",
)
class KimiStackingNothing(WrongKimi):
    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        if not with_max_qk_logit:
            torch.stack([None])
        return super().forward(tokens, cache, with_max_qk_logit)


@mistake(
    "The largest logits are those of the last layer. Each layer has a row.",
    "Which shape does the docstring ask for?",
)
class KimiWithLogitsOfTheLastLayer(WrongKimi):
    def wrong(self):
        return {"stacked": lambda maxima: maxima[-1]}


@mistake(
    "The largest logits are the maximum over the layers. Each layer has a row, for QK-clip looks at each by itself.",
    "Which shape does the docstring ask for?",
)
class KimiWithLogitsOfAllLayersInOne(WrongKimi):
    def wrong(self):
        return {"stacked": lambda maxima: torch.stack(maxima).amax(dim=0)}


@mistake(
    "The largest logits of all layers stand in one row: they are joined by cat. stack gives each layer a row.",
    "Which shape does the docstring ask for?",
)
class KimiWithLogitsInOneRow(WrongKimi):
    def wrong(self):
        return {"stacked": torch.cat}


FACTS = (
    KimiRoutingDenseLayers,
    KimiRoutingReversed,
    KimiWithoutRoutingOfDenseLayers,
    KimiRoutingOfTheLastLayer,
    KimiAlwaysWithLargestLogits,
    KimiWithoutLargestLogits,
    KimiStackingNothing,
    KimiWithLogitsOfTheLastLayer,
    KimiWithLogitsOfAllLayersInOne,
    KimiWithLogitsInOneRow,
)
