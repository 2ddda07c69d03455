"""What training makes small: the loss of the next token, and the terms that keep the experts evenly used."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.config import BalanceConfig
from nanokimi.router import RouterStats, load_balance_loss, sequence_balance_loss, z_loss


def next_token_loss(
    logits: Float[Tensor, "batch seq vocab"], targets: Int[Tensor, "batch seq"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats per token, computed in float32; log(vocab_size) for a model that only guesses.

    `targets` are already shifted: `targets[b, t]` is the token that follows position t of the input.
    """
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


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
