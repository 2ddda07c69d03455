"""The bug hunts of notebook 04: a test that finds each bug, and sound pieces."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lab_utils.course.chapters.ch04_routing import balance_cases, cases
from lab_utils.course.doubles import turn_last_digits
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import (
    RouterStats,
    scaling_factor,
    topk_route,
)


def test_sound_router(topk_route) -> None:
    """K = E: every expert is chosen, whatever the bias, so no weight may depend on it."""
    cfg = MoEConfig(n_routed_experts=3, top_k=3, routed_scaling_factor=1.0)
    logits = torch.tensor([[[1.0, 0.0, -1.0]]])
    without = topk_route(logits, torch.zeros(3), cfg)
    with_bias = topk_route(logits, torch.tensor([0.0, 0.5, -0.5]), cfg)

    def weights(stats):
        return stats.weights[0, 0][stats.expert_idx[0, 0].argsort()]

    assert torch.allclose(weights(without), weights(with_bias), atol=1e-5)


def test_sound_loss(load_balance_loss) -> None:
    """Equal logits, and choices that name all four experts in turn: the loss of an even router is exactly 1."""
    stats = balance_cases.stats_from(torch.zeros(1, 4, 4), top_k=1)
    even = stats._replace(expert_idx=torch.arange(4).view(1, 4, 1))
    assert abs(load_balance_loss(even).item() - 1) < 1e-5


def test_sound_capacity(dispatch) -> None:
    """Every token to expert 0: a token's result must not depend on how many others chose the same expert."""
    bank = cases.bank_of(4, 2, 3)
    x, idx, weights = torch.ones(32, 2), torch.zeros(32, 1, dtype=torch.long), torch.ones(32, 1)
    alone = dispatch(x[:1], idx[:1], weights[:1], bank)
    assert torch.allclose(dispatch(x, idx, weights, bank), alone.expand(32, -1), atol=1e-5)


def route_in_a_loop(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    """A sound router, token by token, for every configuration that a test may choose; the chosen experts come in
    the reverse of the core's order."""
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
    """A sound dispatch, token by token, through the bank: a test may count the rows that the bank is given.

    More than 64 tokens go a few at a time: a test with a thousand tokens should not wait for two thousand calls.
    """
    n_experts, out, few = bank.down_proj.shape[0], [], -(-len(x) // 64) or 1
    for rows, chosen, shares in zip(x.split(few), expert_idx.split(few), weights.split(few), strict=True):
        y = 0
        for e, share in zip(chosen.T, shares.T, strict=True):
            order = e.argsort()
            by_expert = bank(rows[order], torch.bincount(e, minlength=n_experts).tolist())
            y = y + share[:, None] * by_expert[order.argsort()]
        out.append(y)
    return torch.cat(out)


def route_in_float64(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    """A sound router that works its weights out in float64."""
    found = topk_route(logits, expert_bias, cfg)
    s = found.scores.double().gather(-1, found.expert_idx)
    weights = scaling_factor(cfg) * (s / s.sum(dim=-1, keepdim=True) if cfg.norm_topk_prob else s)
    return found._replace(weights=weights.float())


def turn_weights(found: RouterStats, *args: object) -> RouterStats:
    """What a sound router gives, with weights that have other last digits."""
    return found._replace(weights=turn_last_digits(found.weights, but_exact=True))


def route_the_last_of_equals(logits: Tensor, expert_bias: Tensor, cfg: MoEConfig) -> RouterStats:
    """A sound router that goes through the experts from the last one on: of equal ones it takes the last."""
    found = topk_route(logits.flip(-1), expert_bias.flip(-1), cfg)
    idx = logits.shape[-1] - 1 - found.expert_idx
    return RouterStats(found.logits.flip(-1), found.scores.flip(-1), idx, found.weights)


def loss_by_one_hot(stats: RouterStats) -> Tensor:
    """A sound load-balance loss, with the choices as rows of zeros and ones."""
    n_experts = stats.logits.shape[-1]
    share = F.one_hot(stats.expert_idx, n_experts).flatten(0, -2).float().mean(dim=0)
    return n_experts * share @ stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)


def dispatch_by_expert(x: Tensor, expert_idx: Tensor, weights: Tensor, bank: ExpertBank) -> Tensor:
    """A sound dispatch, expert by expert, with as much room as it takes."""
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        token, slot = (expert_idx == e).nonzero().unbind(dim=1)
        counts = [len(token) if i == e else 0 for i in range(n_experts)]
        y = y.index_add(0, token, weights[token, slot, None] * bank(x[token], counts))
    return y
