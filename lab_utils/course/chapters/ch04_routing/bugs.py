"""Broken pieces of notebook 04."""

import torch

from nanokimi.router import RouterStats, expert_load, scaling_factor, topk_route


def route_of_a_colleague(logits, expert_bias, cfg):
    """A router with bias balancing. The load becomes even. What is wrong?"""
    scores = logits.float().sigmoid()
    choice = scores + expert_bias
    picked = choice.topk(cfg.top_k, dim=-1)
    weights = picked.values / (picked.values.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits.float(), scores, picked.indices, weights * scaling_factor(cfg))


def balance_loss_of_a_colleague(stats):
    """The load-balance loss, from what the router has chosen. What is wrong?"""
    n_experts = stats.logits.shape[-1]
    share = expert_load(stats.expert_idx, n_experts) / stats.expert_idx.numel()
    chosen = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1.0)
    probability = (stats.logits.softmax(dim=-1) * chosen).flatten(0, -2).mean(dim=0)
    return n_experts * (share * probability).sum()


def dispatch_of_a_colleague(x, expert_idx, weights, bank):
    """Expert after expert, in buffers of a fixed size. What is wrong?"""
    n_tokens, top_k = expert_idx.shape
    n_experts = bank.down_proj.shape[0]
    room = int(1.25 * n_tokens * top_k / n_experts) + 1
    y = torch.zeros_like(x)
    for e in range(n_experts):
        token, slot = (expert_idx == e).nonzero()[:room].unbind(dim=1)
        counts = [len(token) if i == e else 0 for i in range(n_experts)]
        y = y.index_add(0, token, weights[token, slot, None] * bank(x[token], counts))
    return y


def route_with_late_weights(logits, expert_bias, cfg):
    """The same fault, in a router that knows groups and both kinds of scores."""
    found = topk_route(logits, expert_bias, cfg)
    weights = (found.scores + expert_bias).gather(-1, found.expert_idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return found._replace(weights=weights * scaling_factor(cfg))


def balance_loss_by_expert(stats):
    """The same fault, expert by expert."""
    n_experts = stats.logits.shape[-1]
    p = stats.logits.softmax(dim=-1)
    total = torch.zeros(())
    for e in range(n_experts):
        here = stats.expert_idx == e
        total = total + here.float().mean() * torch.where(here.any(dim=-1), p[..., e], 0.0).mean()
    return n_experts * total


def dispatch_until_full(x, expert_idx, weights, bank):
    """The same fault, token by token."""
    n_experts = bank.down_proj.shape[0]
    left = [int(1.25 * expert_idx.numel() / n_experts) + 1] * n_experts
    served = []  # expert, token and place among the token's choices
    for t, chosen in enumerate(expert_idx.tolist()):
        for slot, e in enumerate(chosen):
            if left[e]:
                left[e] -= 1
                served.append((e, t, slot))
    experts, tokens, slots = torch.tensor(sorted(served), dtype=torch.long).view(-1, 3).T
    rows = bank(x[tokens], torch.bincount(experts, minlength=n_experts).tolist())
    return torch.zeros_like(x).index_add(0, tokens, weights[tokens, slots, None] * rows)
