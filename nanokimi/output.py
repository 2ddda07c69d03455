"""The two ends that both models share: the table that tokens are looked up in, and what a model returns."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from nanokimi.first_weights import draw_weight
from nanokimi.router import RouterStats


class ModelOutput(NamedTuple):
    """What a model returns, whatever its arguments.

    `routing` has one `RouterStats` per MoE layer (none for a dense model). `max_qk_logit` is the largest scaled
    attention logit of every layer and head in this batch, or None where the caller did not ask for it.
    """

    logits: Float[Tensor, "batch seq vocab"]
    routing: tuple[RouterStats, ...]
    max_qk_logit: Float[Tensor, "n_layers n_heads"] | None


def build_embedding(n_rows: int, d_model: int) -> nn.Embedding:
    """A table with a row per token or position, drawn as `draw_weight` draws.

    Not by `nn.Embedding(...)` itself: on the meta device that would load a compiler, which takes a second.
    """
    return nn.Embedding.from_pretrained(draw_weight(n_rows, d_model), freeze=False)
