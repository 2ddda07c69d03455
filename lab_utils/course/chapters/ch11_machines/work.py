"""What the four processes of notebook 11 do: a module, because another process cannot be given a cell of a notebook."""

import itertools
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from lab_utils.machine.ranks import Ranks
from nanokimi.cluster.gradients import whole_gradient
from nanokimi.expert_parallel import experts_of_rank, parallel_dispatch, send_counts
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.model import build_model
from nanokimi.moe import dispatch
from nanokimi.presets.yaml_config import load_model_config

N_RANKS = 4


def four_ranks() -> Ranks:
    """Four processes of this machine, for a `with` block; they have this module loaded."""
    return Ranks(N_RANKS, modules=[__name__])


def say_rank() -> str:
    return f"rank {dist.get_rank()} of {dist.get_world_size()}"


# ---------------------------------------------------------------- data parallel


def gradient_of(first: int, end: int) -> Tensor:
    """The gradient of a small layer's mean loss over the tokens `first` to `end` - 1; the same on every process."""
    generator = torch.Generator().manual_seed(0)
    x, target = (torch.randn(64, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    w = torch.randn(8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    F.mse_loss(x[first:end] @ w, target[first:end]).backward()
    assert w.grad is not None
    return w.grad.flatten()


def gradients_together(borders: list[int]) -> tuple[Tensor, Tensor]:
    """The plain mean over the ranks, and the mean over the tokens; rank r has borders[r] to borders[r + 1] - 1."""
    first, end = borders[dist.get_rank()], borders[dist.get_rank() + 1]
    own = gradient_of(first, end)
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    n_tokens = torch.tensor([b - a for a, b in itertools.pairwise(borders)])
    gradients = torch.stack(every)
    return gradients.mean(dim=0), whole_gradient(gradients, n_tokens)


# ---------------------------------------------------------------- sharding


def bytes_in_memory(preset: str) -> int:
    """Bytes of the tensors that this rank keeps: its rows of every weight, their gradients, and Adam's two means."""
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    kept = []
    for weight in build_model(load_model_config(preset)).parameters():
        chunks = weight.detach().chunk(n_ranks)
        rows = chunks[rank] if rank < len(chunks) else weight.detach()[:0]
        kept += [rows.clone(), torch.zeros_like(rows), torch.zeros_like(rows), torch.zeros_like(rows)]
    return sum(t.nbytes for t in kept)


# ---------------------------------------------------------------- experts


def rows_from_each(idx: Tensor, n_experts: int) -> list[int]:
    """How many rows arrive at this rank from each: every row that travels carries the number of its sender."""
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    leaving = send_counts(idx.tensor_split(n_ranks)[rank], n_experts, n_ranks).sum(dim=1)
    arriving = torch.empty_like(leaving)
    dist.all_to_all_single(arriving, leaving)
    received = torch.empty(int(arriving.sum()), dtype=torch.long)
    rows = torch.full((int(leaving.sum()),), rank)
    dist.all_to_all_single(received, rows, arriving.tolist(), leaving.tolist())
    return torch.bincount(received, minlength=n_ranks).tolist()


def compare_with_one(idx: Tensor, n_experts: int) -> dict[str, bool]:
    """Whether this rank's results of a layer of experts equal those of one process in every bit."""
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    bank = ExpertBank(n_experts, 32, 16)
    x, factor = (torch.randn(len(idx), 32, generator=generator) for _ in range(2))
    weights = torch.rand(idx.shape, generator=generator)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    mine = experts_of_rank(bank, rank, n_ranks)

    whole_x = x.clone().requires_grad_()
    whole_y = dispatch(whole_x, idx, weights, bank)
    (whole_y * factor).sum().backward()

    tokens = torch.arange(len(idx)).tensor_split(n_ranks)[rank]
    part_x = x[tokens].clone().requires_grad_()
    group = dist.group.WORLD
    assert group is not None
    part_y = parallel_dispatch(part_x, idx[tokens], weights[tokens], mine, group)
    (part_y * factor[tokens]).sum().backward()

    experts = torch.arange(n_experts).tensor_split(n_ranks)[rank]
    pairs = {
        "output": (part_y, whole_y[tokens]),
        "gradient of the tokens": (part_x.grad, whole_x.grad[tokens]),
        "gradient of gate and up": (mine.gate_up_proj.grad, bank.gate_up_proj.grad[experts]),
        "gradient of down": (mine.down_proj.grad, bank.down_proj.grad[experts]),
    }
    return {name: torch.equal(one, other) for name, (one, other) in pairs.items()}


def seconds_of_experts(load: list[int], width: int, rounds: int = 10) -> float:
    """Processor seconds that this rank's experts take for their rows, the least of some rounds.

    The ranks share the cores of this machine, so they take turns, and the clock counts this process only.
    """
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    mine = torch.tensor(load).view(n_ranks, -1)[rank].tolist()
    generator = torch.Generator().manual_seed(0)
    gate_up = torch.randn(2 * width, width, generator=generator)
    down = torch.randn(width, width, generator=generator)
    runs = [torch.randn(n, width, generator=generator) for n in mine if n]
    times = []
    for round_ in range(rounds + 1):  # the first one wakes the machine
        for turn in range(n_ranks):
            if turn == rank:
                started = time.process_time()
                with torch.no_grad():
                    for run in runs:
                        swiglu(run, gate_up, down)
                if round_:
                    times.append(time.process_time() - started)
            dist.barrier()
    return min(times)
