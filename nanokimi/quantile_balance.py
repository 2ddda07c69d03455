"""Quantile balancing: the bias that would have given every expert its share of this batch (Kimi K3, eq. 13 and 14).

The sign rule (`router.update_expert_bias_`) moves every bias by a step of a fixed size. This one has no size to choose.
It reads the next bias from the scores s and the bias b that a batch was routed with:

  alpha_t = the (K+1)-th largest of s_t + b          what an expert must exceed to be chosen for token t
  r_te    = alpha_t - s_te                           the bias from which on expert e is chosen for it
  b_e     = the (q+1)-th smallest r_te over t        with it q tokens choose e: its share, q = tokens·K/E
  b      -= mean(b)                                  so that the biases do not drift

A step keeps no r_te of all its tokens, but counts in how many each falls into one of 1,000 bins, per expert. Counts add
up over micro-batches and ranks, and the bias is read from their sum, half a bin from the exact one or less.
"""

from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.config import BalanceConfig, KimiConfig, ModelConfig
from nanokimi.router import RouterStats
from nanokimi.system.refusals import require

BINS = 1000  # per expert; a bin is 0.002 wide where all biases are 0


def needed_bias(
    stats: RouterStats, expert_bias: Float[Tensor, " n_experts"]
) -> Float[Tensor, "tokens n_experts"]:
    """r: for every token the bias from which on each expert would have been chosen.

    `expert_bias` is the one that `stats` were routed with. Needs K < E, and experts without groups.
    """
    scores, top_k = stats.scores.detach().flatten(0, -2), stats.expert_idx.shape[-1]
    threshold = (scores + expert_bias).topk(top_k + 1, dim=-1).values[:, -1:]
    return threshold - scores


def quantile_bias(needed: Float[Tensor, "tokens n_experts"], top_k: int) -> Float[Tensor, " n_experts"]:
    """The next bias, exactly, from the `needed_bias` of all tokens. Its mean is 0."""
    n_tokens, n_experts = needed.shape
    bias = needed.kthvalue(n_tokens * top_k // n_experts + 1, dim=0).values
    return bias - bias.mean()


def count_needed(
    needed: Float[Tensor, "tokens n_experts"], expert_bias: Float[Tensor, " n_experts"]
) -> Int[Tensor, "n_experts bins"]:
    """In how many tokens every expert's needed bias falls into each bin of `BINS`. A row sums to tokens.

    The bins divide the range min(b) - 1 to max(b) + 1, which no needed bias can leave: scores are in 0..1.
    """
    low, width = _bins(expert_bias)
    # On the device alone: `histc` and `bincount` would make the program wait for it.
    place = ((needed - low) / width).long().clamp(0, BINS - 1).mT
    counts = place.new_zeros(len(place), BINS)
    return counts.scatter_add_(1, place, place.new_ones(()).expand_as(place))


def bias_from_counts(
    counts: Int[Tensor, "n_experts bins"], expert_bias: Float[Tensor, " n_experts"], top_k: int
) -> Float[Tensor, " n_experts"]:
    """The next bias from the summed `count_needed` of a step: the middle of the bin in which `quantile_bias` lies.

    `expert_bias` is the one that all of them were counted with. The mean of the result is 0.
    """
    low, width = _bins(expert_bias)
    reached = counts.cumsum(dim=1)
    # More than the share K/E of the tokens: the (q+1)-th is in the first such bin. In whole numbers, so that nothing
    # is rounded; argmax gives the first of the largest.
    is_enough = reached * len(counts) > top_k * reached[:, -1:]
    bias = low + (is_enough.int().argmax(dim=1) + 0.5) * width
    return bias - bias.mean()


def _bins(expert_bias: Float[Tensor, " n_experts"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Where the first bin begins, and how wide a bin is."""
    low, high = expert_bias.min() - 1, expert_bias.max() + 1
    return low, (high - low) / BINS


def has_quantiles(model: ModelConfig, balance: BalanceConfig) -> bool:
    """Whether the biases of this model's experts are balanced by quantiles. With K = E there is nothing to choose.

    Raises `ConfigError` for experts in groups: one of a group that is left out has no bias from which on it is chosen.
    """
    moe = model.moe if isinstance(model, KimiConfig) else None
    if moe is None or balance.method != "quantile":
        return False
    require(
        moe.n_group == 1,
        f"balance.method=quantile: not for experts in groups (moe.n_group={moe.n_group}); use method=sign",
    )
    return moe.top_k < moe.n_routed_experts
