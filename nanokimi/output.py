"""The two ends that both models share: the table that tokens are looked up in, and what a model returns."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nanokimi.router import RouterStats


class ModelOutput(NamedTuple):
    """`routing` has one `RouterStats` a MoE layer (none for a dense model); `max_qk_logit` is the largest scaled
    attention logit of every layer and head in this batch, or None where the caller did not ask for it."""

    logits: Float[Tensor, "batch seq vocab"]
    routing: tuple[RouterStats, ...]
    max_qk_logit: Float[Tensor, "n_layers n_heads"] | None


def empty_embedding(n_rows: int, d_model: int) -> nn.Embedding:
    """A look-up table whose numbers the model draws later, from its own seed.

    `nn.Embedding(...)` would draw them twice, and on the meta device take seconds to load a compiler for it.
    """
    return nn.Embedding.from_pretrained(torch.empty(n_rows, d_model), freeze=False)
