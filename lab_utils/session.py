"""Where a notebook's run is kept, and its results put together: the last lines of notebook 08."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab_utils.arms import Plan
from lab_utils.machine import environment
from lab_utils.results import Results, Run, arm_facts, corpus_facts
from nanokimi.corpus import Corpus


def output_folder(out_dir: str = "", name: str = "notebook") -> Path:
    """`out_dir`, or out/<name> in the checkout that the notebook was started in."""
    if out_dir:
        return Path(out_dir)
    here = Path.cwd()
    root = next((place for place in (here, *here.parents) if (place / "pyproject.toml").exists()), here)
    return root / "out" / name


def collect(
    plan: Plan,
    corpus: Corpus,
    runs: Sequence[Run],
    step_seconds: Mapping[str, tuple[float, ...]],
    wall_seconds: float | None = None,
) -> Results:
    """All that was measured, with the machine it was measured on."""
    return Results(
        profile=plan.profile,
        seeds=plan.seeds,
        arms={arm.name: arm_facts(arm, step_seconds.get(arm.name, ())) for arm in plan.arms},
        runs=tuple(runs),
        corpus=corpus_facts(plan, corpus),
        environment=environment(plan.arms[0].train.device),
        wall_seconds=wall_seconds,
    )
