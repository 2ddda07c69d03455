"""What the log of a training says of attention's logits and of the experts' loads, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lab_utils.bench.results import read_steps
from nanokimi.cluster.traffic import waiting_seconds

STRETCHES = 40  # at most so many numbers in a series
RANKS = (4, 16)  # over which the experts are thought to be spread, where their number allows it
IDLE = 0.1  # an expert with less than a tenth of an even share is called dead
LAST = 0.1  # the share of the steps, at the end, in which this is asked


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A series has a number per stretch of steps; `steps` are their last steps.

    largest_logit: over the stretch, all layers and heads; None where nothing measured it.
    max_vio: mean over the steps of the stretch and the layers, empty without experts.
    waiting: by number of ranks over which the experts are spread, how long the ranks wait in the mean, as a share of
        the time that their experts would take at an even load; a mean over all steps and layers.
    dead: experts per layer that have less than a tenth of an even share in the last tenth of the steps, the mean.
    """

    steps: tuple[int, ...]
    largest_logit: tuple[float, ...] | None
    max_vio: tuple[float, ...]
    waiting: dict[int, float]
    dead: float


def read_logged(run_dir: Path) -> Logged:
    """What the log in the folder of a training says."""
    return summarise(read_steps(run_dir))


def summarise(records: Sequence[dict[str, Any]]) -> Logged:
    """What these steps say, in their order."""
    size = max(1, -(-len(records) // STRETCHES))
    stretches = [records[start : start + size] for start in range(0, len(records), size)]
    has_logits = all(each["max_qk_logit"] is not None for each in records)
    loads = [each["expert_load"] for each in records]
    return Logged(
        steps=tuple(min(size * (i + 1), len(records)) for i in range(len(stretches))),
        largest_logit=tuple(max(map(_largest, some)) for some in stretches) if has_logits else None,
        max_vio=tuple(fmean(x for each in some for x in each["max_vio"]) for some in stretches)
        if loads and loads[0]
        else (),
        waiting=_find_waiting(loads),
        dead=_count_dead(loads[-max(1, round(LAST * len(loads))) :]),
    )


def _largest(record: dict[str, Any]) -> float:
    return max(map(max, record["max_qk_logit"]))


def _find_waiting(loads: Sequence[Sequence[Sequence[float]]]) -> dict[int, float]:
    if not loads or not loads[0]:
        return {}
    n_experts = len(loads[0][0])
    return {
        n: fmean(waiting_share(load, n) for step in loads for load in step)
        for n in RANKS
        if n_experts % n == 0
    }


def waiting_share(load: Sequence[float], n_ranks: int) -> float:
    """How long the ranks wait in the mean, in a layer with this load, as a share of the time of an even load."""
    even = sum(load) / n_ranks
    return waiting_seconds(torch.tensor(load), n_ranks, 1.0).mean().item() / even


def _count_dead(loads: Sequence[Sequence[Sequence[float]]]) -> float:
    """Experts per layer that have nearly no tokens over these steps."""
    if not loads or not loads[0]:
        return 0.0
    shares = torch.tensor(loads).mean(dim=0)  # layers x experts; 1 is even
    return (shares < IDLE).sum(dim=-1).float().mean().item()
