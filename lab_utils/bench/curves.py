"""The numbers behind the pictures: loss curves over the seeds, and what the routers did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lab_utils.bench.compare import seconds_per_token
from lab_utils.bench.results import Results, read_steps, run_folder


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity of one arm over training; low and high are the extremes over the seeds."""

    arm: str
    tokens: tuple[float, ...]
    seconds: tuple[float, ...] | None  # from the step time measured in turn; None if it was not measured
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RoleCurves:
    """Bits per byte of one role: a curve per arm, and the floor of the role."""

    role: str
    floor: float
    curves: tuple[Curve, ...]


def _curve(results: Results, arm: str, tokens: Sequence[float], series: Sequence[Sequence[float]]) -> Curve:
    per_token = seconds_per_token(results.arms[arm])
    columns = list(zip(*series))
    return Curve(
        arm=arm,
        tokens=tuple(tokens),
        seconds=None if per_token is None else tuple(t * per_token for t in tokens),
        mean=tuple(fmean(column) for column in columns),
        low=tuple(min(column) for column in columns),
        high=tuple(max(column) for column in columns),
    )


def bits_curves(results: Results) -> list[Curve]:
    """A curve per arm: bits per byte on the validation text, over the seeds that finished."""
    found = []
    for arm in results.arms:
        runs = [run for seed in results.seeds if (run := results.run(arm, seed))]
        if runs:
            series = [[point.bits_per_byte for point in run.points] for run in runs]
            found.append(_curve(results, arm, [point.tokens for point in runs[0].points], series))
    return found


def floor(results: Results) -> float | None:
    """The floor of the evaluated windows in bits per byte; None where it is not known."""
    floors = [run.final.floor_bits_per_byte for run in results.runs if run.complete]
    return floors[0] if floors else None


def role_curves(results: Results) -> list[RoleCurves]:
    """The roles with a curve per arm; an empty list for texts other than the storyworld."""
    complete = [run for run in results.runs if run.complete]
    if not complete or complete[0].final.by_role is None:
        return []
    found = []
    for role, facts in complete[0].final.by_role.items():
        curves = []
        for arm in results.arms:
            runs = [run for run in complete if run.arm == arm]
            if runs:
                series = [[point.by_role[role]["bits_per_byte"] for point in run.points] for run in runs]
                curves.append(_curve(results, arm, [point.tokens for point in runs[0].points], series))
        found.append(RoleCurves(role=role, floor=facts["floor_bits_per_byte"], curves=tuple(curves)))
    return found


# ---------------------------------------------------------------- from the steps


def first_seed_steps(results: Results, out_dir: Path) -> dict[str, list[dict[str, Any]]]:
    """The step records of every arm's first seed; arms whose steps.jsonl is missing are left out.

    So are those that diverged, since beside their last numbers no other line could be read, and those that were not
    trained in this run: the folder may still hold an older training of theirs.
    """
    seed = results.seeds[0]
    trained = {run.arm for run in results.runs if run.seed == seed and run.diverged_at is None}
    arms = [arm for arm in results.arms if arm in trained]
    steps = {arm: read_steps(run_folder(out_dir, arm, seed)) for arm in arms}
    return {arm: records for arm, records in steps.items() if records}


def load_at_end(steps: Sequence[dict[str, Any]]) -> list[list[float]]:
    """Every expert's share of tokens (layers x experts, 1.0 is even), averaged over the last tenth of the steps.

    The share of a single step is noisy: by about 4 % with 4,096 tokens and 16 experts.
    """
    last = [step["expert_load"] for step in steps[-max(1, len(steps) // 10) :]]
    return [[fmean(values) for values in zip(*layers)] for layers in zip(*last)]


def max_vio(steps: Sequence[dict[str, Any]]) -> list[float]:
    """MaxVio per step: how far the busiest expert's load is above the mean, averaged over the layers."""
    return [fmean(step["max_vio"]) for step in steps if step["max_vio"]]


def largest_logit(steps: Sequence[dict[str, Any]]) -> list[float]:
    """The largest attention logit of all layers and heads per step; steps that did not measure it are left out."""
    return [max(map(max, step["max_qk_logit"])) for step in steps if step["max_qk_logit"] is not None]


def smooth(values: Sequence[float], width: int) -> list[float]:
    """The moving average: for each value, the mean of it and up to `width` - 1 values before it."""
    return [fmean(values[max(0, i - width + 1) : i + 1]) for i in range(len(values))]
