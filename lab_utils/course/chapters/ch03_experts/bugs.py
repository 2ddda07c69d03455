"""Broken pieces of notebook 03."""

import torch
import torch.nn.functional as F


def swiglu_by_columns(x, gate_up, down):
    """A SwiGLU that trains as well as any other. What is wrong?"""
    hidden = F.linear(x, gate_up)
    up, gate = hidden[..., : hidden.shape[-1] // 2], hidden[..., hidden.shape[-1] // 2 :]
    return F.linear(up * F.silu(gate), down)


def run_experts_masked(x, expert_idx, weights, bank):
    """The right numbers from a mixture of experts. What is wrong?"""
    y = torch.zeros_like(x)
    for e in range(bank.down_proj.shape[0]):
        out = bank(x, [len(x) if i == e else 0 for i in range(bank.down_proj.shape[0])])
        y = y + (weights * (expert_idx == e)).sum(dim=-1, keepdim=True) * out
    return y


def swiglu_in_halves(x, gate_up, down):
    """The same fault, with two products."""
    first, second = gate_up.chunk(2)
    return (x @ first.T * F.silu(x @ second.T)) @ down.T


def run_every_token_everywhere(x, expert_idx, weights, bank):
    """The same fault, token by token."""
    n_experts, rows = bank.down_proj.shape[0], []
    for t, chosen in enumerate(expert_idx):
        row = torch.zeros_like(x[t])
        for e in range(n_experts):
            out = bank(x[t : t + 1], [int(i == e) for i in range(n_experts)])[0]
            row = row + (weights[t] * (chosen == e)).sum() * out
        rows.append(row)
    return torch.stack(rows)
