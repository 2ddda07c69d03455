"""What the answers to the exercises of notebook 03 are tried on, and how they are looked at."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lab_utils.course.exercise import (
    Case,
    Problem,
    copy_weights,
    parts_of,
)
from nanokimi.experts import ExpertBank


def _numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Large enough that silu is far from a straight line."""
    return 1.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _weights(d_model: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return _numbers(2 * width, d_model, seed=1, dtype=dtype), _numbers(d_model, width, seed=2, dtype=dtype)


def swiglu_cases() -> list[Case]:
    one = (torch.tensor([[2.0]]), torch.tensor([[1.0], [-3.0]]), torch.tensor([[1.0]]))
    closed = torch.tensor([[-20.0], [1.0], [2.0], [-3.0]])
    # silu(64) is 64, and every product has few digits: bfloat16 holds all of them exactly.
    exact = [torch.tensor(x).bfloat16() for x in ([[1.0], [2.0]], [[64.0], [3.0]], [[0.5]])]
    return [
        Case("one token, one channel", one),
        Case("one token", (_numbers(1, 3), *_weights(3, 4))),
        Case("a gate of -40, and one of 2", (torch.tensor([[2.0]]), closed, torch.tensor([[1.0, -1.5]]))),
        Case("fewer hidden channels than d_model", (_numbers(1, 4), *_weights(4, 2))),
        Case("three tokens", (_numbers(3, 3), *_weights(3, 4))),
        Case("a batch of sequences", (_numbers(2, 3, 3), *_weights(3, 4))),
        Case("a vector alone", (_numbers(3), *_weights(3, 5))),
        Case("float64", (_numbers(4, 3, dtype=torch.float64), *_weights(3, 4, torch.float64))),
        Case("bfloat16, and a gate of 64", tuple(exact)),
        Case("large numbers", (20 * _numbers(3, 3), *_weights(3, 4))),
    ]


def closed_gate_is_closed(parts: dict, x: Tensor, gate_up: Tensor, down: Tensor) -> bool:
    """Where the gate of a channel is far below zero for every token, `down` meets nothing there.

    The gradient of `down` shows what it met, whatever the answer makes of the other channels. bfloat16 has none.
    """
    if x.dtype == torch.bfloat16:
        return True
    gate = F.linear(x, gate_up).chunk(2, dim=-1)[0].reshape(-1, down.shape[1])
    closed = (gate < -30).all(dim=0)
    return not bool((parts["gradient of argument 3"][:, closed].abs() > 1e-3).any())


def run_bank(bank: type, rows: Tensor, counts: list[int], width: int) -> dict:
    """The learner's class with the weights of the core's, in the dtype of `rows`: output, gradients, wasted work."""
    reference = ExpertBank(len(counts), rows.shape[1], width)
    with torch.no_grad():
        for seed, p in enumerate(reference.parameters()):
            # Powers of two give results that bfloat16 holds exactly.
            p.copy_(
                _numbers(*p.shape, seed=seed) if rows.dtype != torch.bfloat16 else torch.full_like(p, 64.0)
            )
    module = copy_weights(reference, bank(len(counts), rows.shape[1], width)).to(rows.dtype)
    leaf = rows.clone().requires_grad_()
    given = leaf.clone()  # nobody may write into a leaf, and torch's error about it would not help a learner
    with FlopCounterMode(display=False) as counter:
        parts = parts_of(module(given, counts))
    if not torch.equal(given, rows):
        raise Problem("It writes into `rows`, which belongs to the caller.")
    needed = len(rows) * 2 * 3 * rows.shape[1] * width
    out = parts.get("result")
    if isinstance(out, Tensor) and out.requires_grad:
        (out * torch.arange(1, out.numel() + 1).view_as(out).sin()).sum().backward()
    # Sums of gradients would be rounded to bfloat16, in an order that is the learner's own.
    leaves = [("rows", leaf), *module.named_parameters()] if rows.dtype != torch.bfloat16 else []
    for name, p in leaves:
        parts[f"gradient of {name}"] = torch.zeros_like(p) if p.grad is None else p.grad
    # Sums written out by hand are not counted, so less than what is needed is no fault.
    return parts | {
        "operations beyond those of the rows' own experts": max(0, counter.get_total_flops() - needed)
    }


def bank_cases() -> list[Case]:
    return [
        Case("one expert, one row", (_numbers(1, 2), [1], 2)),
        Case("two experts", (_numbers(3, 2), [2, 1], 2)),
        Case("three experts", (_numbers(4, 2), [1, 2, 1], 2)),
        Case("an expert without rows between two others", (_numbers(5, 3), [2, 0, 3], 2)),
        Case("the first expert has no rows", (_numbers(4, 3), [0, 1, 3], 4)),
        Case("all rows to the last expert", (_numbers(6, 2), [0, 0, 0, 6], 3)),
        Case("no rows at all", (_numbers(0, 2), [0, 0], 3), aside=True),
        Case("float64", (_numbers(5, 3, dtype=torch.float64), [2, 0, 3], 2)),
        Case("bfloat16", (torch.tensor([[1.0], [2.0], [4.0]]).bfloat16(), [2, 0, 1], 1)),
        Case("sixteen experts", (_numbers(36, 4), [i % 6 for i in range(16)], 3)),
    ]
