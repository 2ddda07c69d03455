"""What is told about every ten seconds while trainings run as jobs: which are under way, and how far they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab_utils.bench.plan import Arm
from lab_utils.bench.results import run_folder
from lab_utils.bench.watch import LINE_EVERY_SECONDS

LAST_LINES_BYTES = 1 << 20

Tell = Callable[[str], None]


class Progress:
    """A look for `jobs.work_off`: tells what is under way and how far it is, by the names of the jobs.

    folder: of the run. arms: of the jobs that are trainings, by the jobs' names. Of the others only the name is told.
    """

    def __init__(self, folder: Path, arms: Mapping[str, Arm], tell: Tell):
        self._folder, self._arms, self._tell = folder, arms, tell
        self._told = time.monotonic()

    def __call__(self, under_way: Sequence[str], waiting: int) -> None:
        if not under_way or time.monotonic() - self._told < LINE_EVERY_SECONDS:
            return
        self._told = time.monotonic()
        left = f"; {waiting} wait" if waiting else ""
        self._tell("under way: " + ", ".join(map(self._describe, under_way)) + left)

    def _describe(self, name: str) -> str:
        if name not in self._arms:
            return name
        arm = self._arms[name]
        step = _last_step(run_folder(self._folder, arm.name, arm.train.seed) / "steps.jsonl")
        return f"{name} at step {step}/{arm.train.steps}" if step else f"{name} not begun"


def _last_step(log: Path) -> int | None:
    """The step of the last whole line of a steps.jsonl that somebody writes now; None where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_LINES_BYTES))
            return json.loads(file.read().rpartition(b"\n")[0].rpartition(b"\n")[2])["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
