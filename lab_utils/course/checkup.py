"""The check-up of notebook 00: is this machine ready, and how long will a run take on it?"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

import torch

from lab_utils.bench.plan import Plan
from lab_utils.machine.describe import cpu_name, total_memory
from lab_utils.show.table import Table, memory
from lab_utils.show.words import plural
from nanokimi.system.checked import checked, fits_signature

PACKAGES = ("torch", "jupyterlab", "ipywidgets", "plotly", "papermill", "tiktoken", "transformers")
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def tested_versions() -> dict[str, str]:
    """The versions that are tested together, from constraints.txt; empty where only the package is installed."""
    if not CONSTRAINTS.exists():
        return {}
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


@checked
def version_table(tested: Mapping[str, str] | None = None) -> Table:
    """A table of the packages that matter: the version here, the tested version, and what that means."""
    tested = tested_versions() if tested is None else tested
    rows = [_row("Python", platform.python_version(), "3.11", platform.python_version() >= "3.11")]
    for name in PACKAGES:
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = None
        rows.append(_row(name, here, tested.get(name), here is not None))
    return Table.of(["", "here", "tested with", ""], rows)


def _row(name: str, here: str | None, tested: str | None, usable: bool) -> list[str]:
    if not usable:
        status = "missing: run make lab, or pip install -c constraints.txt -e '.[lab,test]'"
    elif tested is None or here.partition("+")[0].startswith(tested):
        status = "ready"
    else:
        status = "not the tested version; should work"
    return [name, here or "–", tested or "–", status]


@fits_signature
def device_line() -> str:
    """The device that the models will run on, in one line, or in two that a page does not break within a word."""
    cores = f"{plural(os.cpu_count() or 1, 'core')}, {plural(torch.get_num_threads(), 'thread')} for torch"
    ram = total_memory()
    cpu = f"{cpu_name()}, {cores}" + (f", {memory(ram)} of memory" if ram else "")
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} (CUDA), with {cpu}"
    return f"CPU: {cpu}.\nNo CUDA device: every notebook works, with the small sizes of the profile cpu."


@checked
def cost_table(plans: Mapping[str, Plan], step_seconds: Mapping[str, Sequence[float]]) -> Table:
    """A table of minutes of training on this machine, from the median of a few steps of each model."""
    rows = []
    for what, plan in plans.items():
        seconds = sum(arm.train.steps * median(step_seconds[arm.name]) for arm in plan.trials())
        rows.append([what, str(len(list(plan.trials()))), str(max(1, round(seconds / 60)))])
    return Table.of(["run", "trainings", "minutes, about"], rows)
