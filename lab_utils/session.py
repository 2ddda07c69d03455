"""What notebook 08 needs around its training: where it is kept, a line of status, the results put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from IPython.display import DisplayHandle

from lab_utils.arms import Plan
from lab_utils.machine import environment
from lab_utils.results import Results, Run, arm_facts, corpus_facts
from nanokimi.corpus import Corpus


class StatusLine:
    """One line under a cell that is written again and again; what it says last stays in the notebook."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def show(self, text: str) -> None:
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(data, raw=True)
        else:
            self._handle.update(data, raw=True)


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
