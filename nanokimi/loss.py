"""What training makes small: the loss of the next token, and the terms that keep the experts evenly used."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nanokimi.config import BalanceConfig
from nanokimi.router import RouterStats, load_balance_loss, sequence_balance_loss, z_loss

CHUNK = 8192  # tokens whose logits the loss converts at a time


def next_token_loss(
    logits: Float[Tensor, "batch seq vocab"], targets: Int[Tensor, "batch seq"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats per token, computed in float32; log(vocab_size) for a model that only guesses.

    `targets` are already shifted: `targets[b, t]` is the token that follows position t of the input. Of many logits, as
    a large vocabulary has, CHUNK tokens' are taken at a time and computed again for the gradient, so that their float32
    copies are never all held.
    """
    rows, answers = logits.flatten(0, 1), targets.flatten()
    if len(rows) > CHUNK:
        return _loss_in_chunks(rows, answers)
    return F.cross_entropy(rows.float(), answers)


def _loss_in_chunks(
    rows: Float[Tensor, "tokens vocab"], answers: Int[Tensor, " tokens"]
) -> Float[Tensor, ""]:
    sums = [
        checkpoint(_summed_loss, *chunk, use_reentrant=False)
        for chunk in zip(rows.split(CHUNK), answers.split(CHUNK), strict=True)
    ]
    return torch.stack(sums).sum() / len(rows)


def _summed_loss(rows: Float[Tensor, "tokens vocab"], answers: Int[Tensor, " tokens"]) -> Float[Tensor, ""]:
    return F.cross_entropy(rows.float(), answers, reduction="sum")


def balance_term(routing: tuple[RouterStats, ...], cfg: BalanceConfig) -> Float[Tensor, ""]:
    """The balancing losses, each times its coefficient in `cfg`, as a mean over the MoE layers.

    `routing` has the facts of every MoE layer. The term is 0 for a dense model, and where all coefficients are 0.
    """
    weighted_losses = (
        (cfg.switch_coef, load_balance_loss),
        (cfg.sequence_coef, sequence_balance_loss),
        (cfg.z_coef, z_loss),
    )
    terms = [coef * loss(stats) for coef, loss in weighted_losses if coef for stats in routing]
    return torch.stack(terms).sum() / len(routing) if terms else torch.zeros(())
