"""What both models return: the logits, and the facts that training and the lab want to look at."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from nanokimi.router import RouterStats


class ModelOutput(NamedTuple):
    """`routing` has one `RouterStats` a MoE layer (none for a dense model); `max_qk_logit` is the largest scaled
    attention logit of every layer and head in this batch, or None where the caller did not ask for it."""

    logits: Float[Tensor, "batch seq vocab"]
    routing: tuple[RouterStats, ...]
    max_qk_logit: Float[Tensor, "n_layers n_heads"] | None
