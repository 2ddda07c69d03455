"""The learner's logbook: which exercises are solved, which hints were taken, how predictions came out.

A small JSON file on the learner's own machine, at `NANOKIMI_PROGRESS` or in the user's data folder. Nothing leaves
the machine.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanokimi.system import atomic


def logbook_path() -> Path:
    """Where the logbook is: `NANOKIMI_PROGRESS`, or nanokimi/progress.json in the user's data folder."""
    if named := os.environ.get("NANOKIMI_PROGRESS"):
        return Path(named)
    return (
        Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "nanokimi" / "progress.json"
    )


@dataclass
class Logbook:
    """The file's content. Each `note_...` writes the file at once."""

    path: Path
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # exercise: {"solved", "attempts"}
    hints: dict[str, int] = field(default_factory=dict)  # exercise: how many were taken
    predictions: dict[str, bool] = field(default_factory=dict)  # question: was the guess right

    @classmethod
    def open(cls, path: Path | None = None) -> Logbook:
        """The logbook as it is now. A file that cannot be read gets another name, and a new one begins."""
        path = path or logbook_path()
        if not path.exists():
            return cls(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, dict(found["checks"]), dict(found["hints"]), dict(found["predictions"]))
        except (ValueError, KeyError, TypeError):
            path.replace(path.with_suffix(".damaged"))
            return cls(path)

    def note_check(self, exercise: str, status: str) -> None:
        """Count one more attempt; a solved exercise stays solved. An untouched stub is no attempt."""
        if status == "not tried":
            return
        before = self.checks.get(exercise, {"solved": False, "attempts": 0})
        self.checks[exercise] = {
            "solved": before["solved"] or status == "passed",
            "attempts": before["attempts"] + 1,
        }
        self._write()

    def note_hint(self, exercise: str, number: int) -> None:
        """Keep the number of the last hint that was read."""
        self.hints[exercise] = max(self.hints.get(exercise, 0), number)
        self._write()

    def note_prediction(self, question: str, right: bool) -> None:
        """Keep whether the first guess was right. Later ones do not count: the answer is on the screen then."""
        if question not in self.predictions:
            self.predictions[question] = right
            self._write()

    def solved(self, exercise: str) -> bool:
        return bool(self.checks.get(exercise, {}).get("solved"))

    def reset(self) -> None:
        """Delete the logbook."""
        self.checks, self.hints, self.predictions = {}, {}, {}
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {"checks": self.checks, "hints": self.hints, "predictions": self.predictions}
        atomic.write_json(self.path, content)
