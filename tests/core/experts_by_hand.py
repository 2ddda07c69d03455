"""The mixture of experts as the loop that runs every expert on every token, for dispatch and layer to compare with."""

import torch
from torch import Tensor


def expert(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """One expert on all tokens, written with its own products."""
    width = down.shape[1]
    gate, up = x @ gate_up[:width].T, x @ gate_up[width:].T
    return (gate * torch.sigmoid(gate) * up) @ down.T


def every_expert_loop(
    x: Tensor, expert_idx: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor
) -> Tensor:
    """Every expert on every token, its output times the token's weight for it: 0 where it was not chosen."""
    y = torch.zeros_like(x)
    for e in range(len(gate_up)):
        weight = (weights * (expert_idx == e)).sum(-1, keepdim=True)
        y = y + weight * expert(x, gate_up[e], down[e])
    return y
