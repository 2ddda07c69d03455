"""What the ranks of test_expert_parallel.py do; a module of its own, which their processes import without the tests."""

import torch
import torch.distributed as dist
from torch import Tensor

from nanokimi.expert_parallel import experts_of_rank, parallel_dispatch
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch

N_EXPERTS, D_MODEL, WIDTH = 8, 16, 32
NAMES = ("output", "gradient of x", "gradient of the weights", "gradient of gate and up", "gradient of down")


def draw(idx: Tensor) -> tuple[Tensor, Tensor, ExpertBank, Tensor]:
    """Tokens, weights, a bank, and what the output is multiplied by before its sum is the loss; the same every time."""
    generator = torch.Generator().manual_seed(3)
    bank = ExpertBank(N_EXPERTS, D_MODEL, WIDTH)
    with torch.no_grad():
        for p in bank.parameters():
            p.normal_(0.0, 0.5, generator=generator)
    x, factor = (torch.randn(len(idx), D_MODEL, generator=generator) for _ in range(2))
    return x.requires_grad_(), torch.rand(idx.shape, generator=generator).requires_grad_(), bank, factor


def on_one(idx: Tensor, *, x_learns: bool = True) -> list[Tensor | None]:
    """What `dispatch` gives, and the gradients, in the order of NAMES."""
    x, weights, bank, factor = draw(idx)
    x.requires_grad_(x_learns)
    y = dispatch(x, idx, weights, bank)
    (y * factor).sum().backward()
    return [y.detach(), x.grad, weights.grad, bank.gate_up_proj.grad, bank.down_proj.grad]


def compare(idx: Tensor, borders: list[int], n_ranks: int, x_learns: bool = True, turn: int = 0) -> list[str]:
    """What differs from one rank in any bit, on this rank. All ranks together are groups of `n_ranks` each.

    Rank r of a group has the tokens borders[r] to borders[r + 1] - 1. With `turn` it brings the choices of others.
    """
    every = range(dist.get_world_size())
    groups = [dist.new_group(every[first : first + n_ranks]) for first in every[::n_ranks]]
    group = groups[dist.get_rank() // n_ranks]
    rank = dist.get_rank(group)
    x, weights, bank, factor = draw(idx)
    tokens, share = slice(borders[rank], borders[rank + 1]), N_EXPERTS // n_ranks
    x, weights = (t.detach()[tokens].requires_grad_() for t in (x, weights))
    x.requires_grad_(x_learns)
    part = experts_of_rank(bank, rank, n_ranks)
    y = parallel_dispatch(x, idx.roll(turn, 0)[tokens], weights, part, group)
    (y * factor[tokens]).sum().backward()
    ours = [y.detach(), x.grad, weights.grad, part.gate_up_proj.grad, part.down_proj.grad]
    experts = slice(rank * share, (rank + 1) * share)
    parts = [tokens] * 3 + [experts] * 2
    right = [None if t is None else t[part] for t, part in zip(on_one(idx, x_learns=x_learns), parts)]
    return [
        f"rank {rank} of {n_ranks}: {name}"
        for name, got, expected in zip(NAMES, ours, right)
        if got is not expected and (got is None or expected is None or not torch.equal(got, expected))
    ]
