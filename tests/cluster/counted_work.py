"""What the ranks of test_plan.py hold, send and compute, counted; a module that their processes import."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.fsdp
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nanokimi import ranks
from nanokimi.config import TrainConfig
from nanokimi.expert_parallel import experts_of_rank, parallel_dispatch
from nanokimi.experts import ExpertBank
from nanokimi.loss import next_token_loss
from nanokimi.model import Model
from nanokimi.optim import build_optimizers
from nanokimi.steering import Steering
from nanokimi.step import take_step
from tests import tiny
from tests.training import make_model, take_batch

CPU = torch.device("cpu")


class Exchanges(TorchDispatchMode):
    """A block that lists the collective operations in it: a name, and the bytes of its largest and least tensor."""

    def __init__(self):
        super().__init__()
        self.found: list[tuple[str, int, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if func.namespace in ("c10d", "_c10d_functional") and "wait" not in name and "wrap" not in name:
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, result))
            sizes = [t.nbytes for t in leaves if isinstance(t, Tensor)]
            self.found.append((name, max(sizes), min(sizes)))
        return result


def deal(name: str, sharded: bool) -> Model:
    model = make_model(name)
    if sharded:
        ranks.shard(model, CPU)
    return model


def count_sent(name: str, sharded: bool, cfg: TrainConfig) -> list[tuple[str, int, int]]:
    """The exchanges of a training step."""
    model = deal(name, sharded)
    optimizers = build_optimizers(model, cfg.optim)
    with Exchanges() as exchanges:
        take_step(model, optimizers, tiny.corpus(), cfg, Steering(), 0, torch.float32, lambda: None)
    return exchanges.found


def count_held(name: str, sharded: bool, cfg: TrainConfig) -> dict[str, float]:
    """Bytes that this rank holds after a step, and of a block that it has put together; the optimizers' operations."""
    model, together = deal(name, sharded), [0]

    def see(block: torch.nn.Module) -> None:
        together.append(sum(p.untyped_storage().nbytes() for p in block.parameters()))

    for block in model.layers:
        next(block.children()).register_forward_hook(lambda *_, block=block: see(block))
    optimizers = build_optimizers(model, cfg.optim)
    inputs, targets = take_batch(cfg)
    next_token_loss(model(inputs).logits, targets).backward()
    with FlopCounterMode(display=False) as operations:
        for optimizer in optimizers:
            optimizer.step()
    kept = [
        value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()
    ]
    return {
        "weights": sum(ranks.own(p.detach()).nbytes for p in model.parameters()),
        "gradients": sum(ranks.own(p.grad).nbytes for p in model.parameters() if p.grad is not None),
        "states": sum(
            ranks.own(value).nbytes for value in kept if value.ndim
        ),  # AdamW's counts of steps have no axis
        "together": max(together),
        "operations": operations.get_total_flops(),
    }


# ---------------------------------------------------------------- what leaves the process


def written() -> int:
    """Bytes that this process has written so far, to its neighbours or elsewhere."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def write_collectives(numel: int) -> dict[str, int]:
    """Bytes that leave this process for one exchange of `numel` float32 numbers; of a gather, on each rank."""
    x, every = torch.ones(numel), torch.empty(dist.get_world_size() * numel)
    found = {}
    for name, exchange in {
        "all_reduce": lambda: dist.all_reduce(x),
        "all_gather": lambda: dist.all_gather_into_tensor(every, x),
        "reduce_scatter": lambda: dist.reduce_scatter_tensor(x, every),
    }.items():
        exchange()  # the first one says hello
        before = written()
        exchange()
        found[name] = written() - before
    return found


def write_rows(n_tokens: int, d_model: int, n_experts: int, top_k: int) -> dict[str, int]:
    """A layer of experts, both passes, with an even load: bytes that leave, and bytes of the rank's experts."""
    n_ranks, group = dist.get_world_size(), dist.group.WORLD
    assert group is not None
    mine = experts_of_rank(ExpertBank(n_experts, d_model, 8), dist.get_rank(), n_ranks)
    idx = (torch.arange(n_tokens)[:, None] + torch.arange(top_k)) % n_experts
    x = torch.ones(n_tokens, d_model, requires_grad=True)
    run = lambda: parallel_dispatch(x, idx, torch.ones(idx.shape), mine, group).sum().backward()
    run()
    with Exchanges() as exchanges:
        before = written()
        run()
        sent = written() - before
    return {"sent": sent, "exchanges": len(exchanges.found), "held": sum(p.nbytes for p in mine.parameters())}
