"""What the ranks of test_ranks.py do."""

import os
import signal

import torch.distributed as dist
from torch import Tensor


def add_ranks(x: Tensor) -> Tensor:
    x = x * (dist.get_rank() + 1)
    dist.all_reduce(x)
    return x


def fail_on_rank_1() -> None:
    if dist.get_rank() == 1:
        raise ValueError("no such number")
    dist.barrier()


def die_on_rank_1() -> None:
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # a barrier would notice the death too, and might be the first to tell


def hang_on_rank_1() -> None:
    if dist.get_rank() == 1:
        signal.pause()
    dist.barrier()
