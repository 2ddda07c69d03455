"""Seconds of candidates that run in turns: in every round each of them once, in an order that changes."""

import random
import time
from collections.abc import Callable

import torch

Candidates = dict[str, Callable[[], object]]
Times = dict[str, list[float]]
WARM_UP = 2  # rounds that are not counted: they fill caches and allocate memory


def time_in_turns(candidates: Candidates, rounds: int, device: torch.device) -> Times:
    """Seconds of every candidate, one number per round."""
    times: Times = {name: [] for name in candidates}
    shuffle = random.Random(0)
    for turn in range(rounds + WARM_UP):
        for name in shuffle.sample(list(candidates), len(candidates)):
            wait(device)
            start = time.perf_counter()
            candidates[name]()
            wait(device)
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
    return times


def wait(device: torch.device) -> None:
    """Return when the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize()
