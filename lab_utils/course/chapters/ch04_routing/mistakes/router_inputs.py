"""What the known wrong answers to test_sound_router, of notebook 04, call a router with, and how they compare."""

from dataclasses import replace

import torch

from nanokimi.config import MoEConfig

CFG = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
EVERYBODY = replace(CFG, top_k=4)
LOGITS = torch.tensor([[[2.0, 1.0, 0.0, -1.0], [0.0, 1.0, -1.0, 2.0]]])
BIAS = torch.tensor([0.0, 0.0, 0.5, -0.1])  # both tokens go to expert 2 in the place of expert 1


def by_expert(stats):
    """The weight of every expert, 0 where it was not chosen."""
    return torch.zeros(1, 2, 4).scatter(-1, stats.expert_idx, stats.weights)


def chosen(stats):
    return torch.zeros(1, 2, 4).scatter(-1, stats.expert_idx, 1.0)


def shares(stats, scores):
    """What the weights should be, of `scores`."""
    weights = scores.gather(-1, stats.expert_idx)
    return weights / weights.sum(dim=-1, keepdim=True)


def close(one, other):
    return torch.allclose(one, other, atol=1e-4)
