"""Several processes that train one model: who I am, and how the ranks share work, numbers and weights.

A rank takes its share of a step's micro-batches. What a step is (its windows, its loss, its update) does not depend on
the number of ranks. With one rank nothing is sent: every function gives back what it got. Replicated, every rank holds
the whole model. Sharded, it holds a part of each weight: some rows, and of a bank of experts some experts.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nanokimi.torchrun import n_ranks, rank


def share(batches: Sequence[Tensor]) -> list[Tensor]:
    """My batches: number r, r + n, r + 2n ... Every rank gets as many; where others have one more, it is empty."""
    mine = list(batches[rank() :: n_ranks()])
    return mine if len(mine) * n_ranks() >= len(batches) else [*mine, batches[0][:0]]


def sums(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Each tensor added up over the ranks, in place. A part stays: a sharded gradient is a sum when it is made."""
    sent = [each for each in tensors if not is_part(each)] if n_ranks() > 1 else []
    for work in filter(None, [dist.all_reduce(each, async_op=True) for each in sent]):
        work.wait()
    return tensors


def in_turn(mine: list[Tensor]) -> list[Tensor]:
    """The tensors of all ranks as work is dealt: the first of rank 0, the first of rank 1 ..., the second of rank 0."""
    if n_ranks() == 1:
        return mine
    found = [torch.zeros_like(mine[0]) for _ in range(n_ranks() * len(mine))]
    found[rank() :: n_ranks()] = mine
    return list(sums(found))


def maxima(x: Tensor) -> Tensor:
    """The largest of each number over the ranks; NaN counts as infinite."""
    if n_ranks() > 1:
        x = x.nan_to_num(nan=torch.inf, posinf=torch.inf)
        dist.all_reduce(x, dist.ReduceOp.MAX)
    return x


def shard(model: nn.Module, device: torch.device) -> None:
    """Deal the weights of a model with `layers` to the ranks, block by block (FSDP2), on `device`."""
    if n_ranks() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh  # seconds, which one process should not pay
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (n_ranks(),))
    model.to(device)
    for module in (*model.get_submodule("layers").children(), model):
        dealt = fully_shard(module, mesh=mesh)
        dealt.set_gradient_divide_factor(1.0)  # gradients are added up, as those of micro-batches are
        dealt.set_force_sum_reduction_for_comms(True)  # gloo knows no sum with a factor


def is_part(x: Tensor) -> bool:
    """Whether this tensor is dealt to the ranks."""
    return hasattr(x, "placements")


def own(x: Tensor) -> Tensor:
    """What this rank holds of the tensor; writing there changes it."""
    return x.to_local() if is_part(x) else x  # pyright: ignore[reportAttributeAccessIssue]


def whole(x: Tensor) -> Tensor:
    """The tensor put together from its parts. Every rank must ask for it."""
    return x.full_tensor() if is_part(x) else x  # pyright: ignore[reportAttributeAccessIssue]


def part(x: Tensor, like: Tensor) -> Tensor:
    """Of the whole tensor `x` what this rank holds of `like`, which has its shape, or as many rows."""
    if not is_part(like):
        return x
    parts = x.chunk(n_ranks())  # as FSDP2 deals them: the last ranks may get fewer rows, or none
    return parts[rank()] if rank() < len(parts) else x[:0]


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole tensors on rank 0; the others help to put them together, and get none."""
    found = ((name, whole(tensor)) for name, tensor in tensors.items())
    return {name: tensor.contiguous() for name, tensor in found if rank() == 0}
