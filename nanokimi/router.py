"""TopK routing: the choice of experts for every token, their weights, and what keeps the load even.

Everything here is a function of the gate's logits. The MoE layer owns the weights, and the training configuration says
which of the balancing terms count.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nanokimi.config import MoEConfig


class RouterStats(NamedTuple):
    """What one router decided: facts for the loss, the bias update and the lab.

    `scores` are the sigmoid or softmax of `logits`, before any bias. `expert_idx` has the chosen experts, in no
    order, and `weights` what their outputs are multiplied by.
    """

    logits: Float[Tensor, "batch seq n_experts"]
    scores: Float[Tensor, "batch seq n_experts"]
    expert_idx: Int[Tensor, "batch seq top_k"]
    weights: Float[Tensor, "batch seq top_k"]


def topk_route(
    logits: Float[Tensor, "batch seq n_experts"],
    expert_bias: Float[Tensor, " n_experts"],
    cfg: MoEConfig,
) -> RouterStats:
    """The `top_k` experts of every token and their weights (DeepSeek-V3, sec. 2.1.2). In float32 throughout.

    Landmarks: with `norm_topk_prob` a token's weights sum to the scaling factor, also where all scores underflow; with
    K = E the output does not change with the bias.
    """
    logits = logits.float()
    scores = logits.sigmoid() if cfg.scoring == "sigmoid" else logits.softmax(dim=-1)
    # The bias steers the choice only; weighting by it would distort the output.
    choice = _keep_best_groups(scores.detach() + expert_bias, cfg)
    expert_idx = choice.topk(cfg.top_k, dim=-1, sorted=False).indices
    weights = scores.gather(-1, expert_idx)
    if cfg.norm_topk_prob:
        chosen = logits.gather(-1, expert_idx)
        weights = _to_shares(weights, F.logsigmoid(chosen) if cfg.scoring == "sigmoid" else chosen)
    return RouterStats(logits, scores, expert_idx, weights * scaling_factor(cfg))


def score_shares(stats: RouterStats) -> Float[Tensor, "batch seq n_experts"]:
    """Every expert's share of its token's scores: softmax's own, or the sigmoids divided by their sum."""
    return _to_shares(stats.scores, F.logsigmoid(stats.logits))


def _to_shares(
    scores: Float[Tensor, "batch seq experts"], log_scores: Float[Tensor, "batch seq experts"]
) -> Float[Tensor, "batch seq experts"]:
    """The scores divided by their sum. Where that is nearly 0, as of sigmoids of logits below -28, by their logarithms.

    `log_scores` may lack a number that is the same for all experts. DeepSeek adds 1e-20 to the sum instead, which gives
    the same above 1e-12, and below it weights that fade to 0.
    """
    total = scores.sum(dim=-1, keepdim=True)
    # Both are computed everywhere: to ask which tokens need the second would make the program wait for the device.
    return torch.where(total > 1e-12, scores / total.clamp(min=1e-12), log_scores.softmax(dim=-1))


def _keep_best_groups(
    choice: Float[Tensor, "batch seq n_experts"], cfg: MoEConfig
) -> Float[Tensor, "batch seq n_experts"]:
    """`choice` with -inf for experts outside the `topk_group` best groups; a group's score is its two best, added."""
    if cfg.n_group == 1:
        return choice
    grouped = choice.unflatten(-1, (cfg.n_group, -1))
    group_score = grouped.topk(2, dim=-1).values.sum(dim=-1)
    kept = group_score.topk(cfg.topk_group, dim=-1, sorted=False).indices
    dropped = torch.ones_like(group_score, dtype=torch.bool).scatter(-1, kept, False)
    return grouped.masked_fill(dropped.unsqueeze(-1), -torch.inf).flatten(-2)


# ---------------------------------------------------------------- the scaling factor


def scaling_factor(cfg: MoEConfig) -> float:
    """What the routed weights are multiplied by: `routed_scaling_factor`, or where that is None the derived one."""
    if cfg.routed_scaling_factor is not None:
        return cfg.routed_scaling_factor
    if not cfg.norm_topk_prob:
        return 1.0
    return derived_scaling_factor(cfg.n_routed_experts, cfg.top_k)


@functools.cache
def derived_scaling_factor(n_experts: int, top_k: int, n_samples: int = 20_000) -> float:
    """E[1/||p||] for p the renormalised top-K sigmoids of Gaussian logits (Moonlight's rule).

    K weights that sum to 1 shrink the sum of K independent expert outputs by ||p||. The factor undoes that, so that the
    routed experts add as much as the shared one. Landmarks: 16/2 1.412, 64/6 2.446 (Moonlight), 384/8 2.828 (K2).
    """
    MoEConfig(n_routed_experts=n_experts, top_k=top_k)  # refuses numbers that no router has
    generator, total = torch.Generator().manual_seed(0), 0.0
    for _ in range(math.ceil(n_samples / 1000)):
        scores = torch.randn(1000, n_experts, generator=generator, dtype=torch.float64).sigmoid()
        p = scores.topk(top_k, dim=-1).values
        total += (1 / (p / p.sum(dim=-1, keepdim=True)).norm(dim=-1)).mean().item()
    return total / math.ceil(n_samples / 1000)


# ---------------------------------------------------------------- balance


def expert_load(expert_idx: Int[Tensor, "..."], n_experts: int) -> Int[Tensor, " n_experts"]:
    """How many tokens go to each expert. The counts sum to tokens·K."""
    chosen = expert_idx.flatten().long()
    # `bincount` would read the largest index on the host: on a GPU the program would wait for it in every layer.
    return chosen.new_zeros(n_experts).scatter_add_(0, chosen, torch.ones_like(chosen))


def max_violation(load: Float[Tensor, " n_experts"]) -> float:
    """MaxVio = max(load)/mean(load) - 1: 0 when even, E/K - 1 when K experts get all tokens (Wang et al. 2024)."""
    # Without any token it is 0/0, and nothing is uneven.
    return (load.max() / load.mean() - 1).nan_to_num(nan=0.0).item()


def _zero_without_tokens(loss: Callable[[RouterStats], Tensor]) -> Callable[[RouterStats], Tensor]:
    """The loss; 0 for a batch or a sequence of length 0, where its means would be 0/0."""

    @functools.wraps(loss)
    def of_some_tokens(stats: RouterStats) -> Tensor:
        return loss(stats) if stats.logits.numel() else stats.logits.sum()

    return of_some_tokens


@_zero_without_tokens
def load_balance_loss(stats: RouterStats) -> Float[Tensor, ""]:
    """Switch balance loss: 1 when perfectly even, E when collapsed at K = 1 (Fedus et al. 2021, eq. 4).

    E · sum of f_i·P_i. f_i is the share of choices that went to expert i, a count without gradient; P_i is its softmax
    probability, mean over all tokens, and carries the gradient.
    """
    n_experts = stats.logits.shape[-1]
    share = expert_load(stats.expert_idx, n_experts) / stats.expert_idx.numel()
    probability = stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)
    return n_experts * (share * probability).sum()


@_zero_without_tokens
def sequence_balance_loss(stats: RouterStats) -> Float[Tensor, ""]:
    """The sequence-wise loss of DeepSeek-V3 (eq. 17-20), mean over the batch; exactly 1 for a uniform router.

    It counts the top K of the scores without bias: the loss shapes the scores, which know nothing of the bias.
    """
    seq_len, n_experts = stats.scores.shape[-2:]
    top_k = stats.expert_idx.shape[-1]
    chosen = stats.scores.topk(top_k, dim=-1, sorted=False).indices
    counts = torch.zeros_like(stats.scores).scatter_(-1, chosen, 1.0).sum(dim=-2)
    frequency = counts * n_experts / (top_k * seq_len)
    probability = score_shares(stats).mean(dim=-2)
    return (frequency * probability).sum(dim=-1).mean()


@_zero_without_tokens
def z_loss(stats: RouterStats) -> Float[Tensor, ""]:
    """mean(logsumexp(logits)²), which keeps the gate's logits small (ST-MoE, eq. 5)."""
    return stats.logits.logsumexp(dim=-1).square().mean()


@torch.no_grad()
def update_expert_bias_(
    expert_bias: Float[Tensor, " n_experts"], load: Int[Tensor, " n_experts"], rate: float
) -> None:
    """Balancing without a loss, once per optimizer step: idle experts' biases rise a little, busy ones' fall, in place.

    b += rate · sign(mean(load) - load) (Wang et al. 2024), less its mean, so that the biases do not drift (Moonlight).
    `load` counts all micro-batches of the step. Landmark: for a frozen skewed router, E = 8, MaxVio falls from 1.66 to
    0.05 in 400 updates.
    """
    load = load.to(expert_bias.dtype)
    delta = rate * (load.mean() - load).sign()
    expert_bias += delta - delta.mean()
