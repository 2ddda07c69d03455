"""The bug hunts of notebook 04: sound versions written otherwise than the core, and pieces that tell tests apart."""

from typing import Any

import torch
from torch import Tensor

from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch
from nanokimi.router import RouterStats, load_balance_loss, scaling_factor, topk_route


def route_in_a_loop(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    """A sound router, token by token, for every configuration that a test may choose; the best expert comes last."""
    full = logits.float()
    scores = full.sigmoid() if cfg.scoring == "sigmoid" else full.exp() / full.exp().sum(-1, keepdim=True)
    # The groups are the core's; no bug hunt is about them.
    allowed = topk_route(logits, expert_bias, cfg).expert_idx.flatten(0, -2).tolist()
    idx, weights = [], []
    for s, chosen in zip(scores.flatten(0, -2), allowed, strict=True):
        best = sorted(chosen, key=lambda e: (s[e] + expert_bias[e]).item())
        w = torch.stack([s[e] for e in best])
        idx.append(best)
        weights.append(scaling_factor(cfg) * (w / w.sum() if cfg.norm_topk_prob else w))
    shape = (*logits.shape[:-1], cfg.top_k)
    return RouterStats(full, scores, torch.tensor(idx).view(shape), torch.stack(weights).view(shape))


def loss_in_a_loop(stats: RouterStats) -> Tensor:
    """A sound load-balance loss, expert by expert."""
    n_experts = stats.logits.shape[-1]
    p = stats.logits.softmax(dim=-1).reshape(-1, n_experts)
    f = [(stats.expert_idx == e).float().mean() for e in range(n_experts)]
    return n_experts * sum(f[e] * p[:, e].mean() for e in range(n_experts))


def dispatch_by_token(x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank) -> Tensor:
    """A sound dispatch, token by token, through the bank: a test may count the rows that the bank is given."""
    n_experts, out = bank.down_proj.shape[0], []
    for t, chosen in enumerate(expert_idx.tolist()):
        rows = [bank(x[t : t + 1], [int(e == i) for i in range(n_experts)]) for e in chosen]
        out.append(sum(w * row for w, row in zip(weights[t], rows, strict=True)))
    return torch.cat(out)


def route_of_zeros(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    return found._replace(weights=0 * found.weights)


def route_of_one(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    return found._replace(weights=found.weights[..., :1])


def route_of_equals(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    return found._replace(weights=torch.full_like(found.weights, 1 / cfg.top_k))


def route_doubled(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    found = topk_route(logits, expert_bias, cfg)
    return found._replace(weights=2 * found.weights)


def loss_of_zeros(stats: RouterStats) -> Tensor:
    return 0 * load_balance_loss(stats)


def loss_a_token(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats).expand(3)


def loss_of_ones(stats: RouterStats) -> Tensor:
    return 0 * load_balance_loss(stats) + 1


def loss_halved(stats: RouterStats) -> Tensor:
    return load_balance_loss(stats) / 2


def dispatch_of_zeros(*args: Any) -> Tensor:
    return 0 * dispatch(*args)


def dispatch_of_one_channel(*args: Any) -> Tensor:
    return dispatch(*args)[:, :1]


def dispatch_of_the_first(*args: Any) -> Tensor:
    out = dispatch(*args)
    return torch.cat([out[:1], 0 * out[1:]])
