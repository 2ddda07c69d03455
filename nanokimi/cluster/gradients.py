"""Data parallel: which micro-batches a rank takes, and the gradient of the whole from those of the ranks."""

from jaxtyping import Float, Int
from torch import Tensor


def micro_batches_of(rank: int, n_ranks: int, step: int, grad_accum: int) -> list[int]:
    """The micro-batches that `rank` of `n_ranks` takes in a step: every n-th of the step's `grad_accum`.

    Micro-batches are numbered through the whole training, step 0 has 0 to grad_accum - 1. So a step has the same text
    on any number of ranks.
    """
    return list(range(step * grad_accum + rank, (step + 1) * grad_accum, n_ranks))


def whole_gradient(
    gradients: Float[Tensor, "n_ranks numbers"], n_tokens: Int[Tensor, " n_ranks"]
) -> Float[Tensor, " numbers"]:
    """The gradient of the mean loss over the tokens of all ranks.

    `gradients` has each rank's gradient of the mean loss over its own `n_tokens` tokens. A rank counts as much as it
    has tokens.
    """
    share = n_tokens / n_tokens.sum()
    return share.to(gradients.dtype) @ gradients
