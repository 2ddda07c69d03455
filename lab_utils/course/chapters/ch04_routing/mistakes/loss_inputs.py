"""What the known wrong answers to test_sound_loss, of notebook 04, call a loss with, and how they compare."""

import torch

from nanokimi.router import RouterStats, expert_load

COMPARE = "Compare with a value that you know: what is the loss of an even router?"
EVEN = torch.arange(4).view(1, 4, 1)  # four tokens, each to an expert of its own


def stats_of(logits, idx=None):
    """What a router with sigmoid scores and K = 2 would say of these logits."""
    scores = logits.sigmoid()
    idx = scores.topk(2, dim=-1).indices if idx is None else idx
    return RouterStats(logits, scores, idx, torch.ones(idx.shape))


def some():
    """Two sequences of five tokens, as they come."""
    return stats_of(1.5 * torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1)))


def loss_by_formula(stats, p=None, idx=None):
    idx = stats.expert_idx if idx is None else idx
    p = stats.logits.softmax(dim=-1) if p is None else p
    return 4 * (expert_load(idx, 4) / idx.numel() * p.flatten(0, -2).mean(dim=0)).sum()


def close(one, other):
    return abs(float(one) - float(other)) < 1e-4
