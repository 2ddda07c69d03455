"""The learner's logbook: which exercises are solved, which hints were taken, how predictions came out.

A small JSON file on the learner's own machine, at `NANOKIMI_PROGRESS` or in the user's data folder; nothing
leaves it. It is written whole or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def logbook_path() -> Path:
    """`NANOKIMI_PROGRESS`, or nanokimi/progress.json in the user's data folder."""
    if named := os.environ.get("NANOKIMI_PROGRESS"):
        return Path(named)
    return (
        Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "nanokimi" / "progress.json"
    )


@dataclass
class Logbook:
    """The file's content. Every `note_...` writes it at once."""

    path: Path
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # exercise: {"solved", "attempts"}
    hints: dict[str, int] = field(default_factory=dict)  # exercise: how many were taken
    predictions: dict[str, bool] = field(default_factory=dict)  # question: was the guess right

    @classmethod
    def open(cls, path: Path | None = None) -> Logbook:
        """The logbook as it is now. A file that cannot be read is kept under another name and begun anew."""
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
        """One more attempt; an exercise once solved stays solved. An untouched stub is no attempt."""
        if status == "not tried":
            return
        before = self.checks.get(exercise, {"solved": False, "attempts": 0})
        self.checks[exercise] = {
            "solved": before["solved"] or status == "passed",
            "attempts": before["attempts"] + 1,
        }
        self._write()

    def note_hint(self, exercise: str, number: int) -> None:
        self.hints[exercise] = max(self.hints.get(exercise, 0), number)
        self._write()

    def note_prediction(self, question: str, right: bool) -> None:
        """Only the first guess counts: the second is made with the answer on the screen."""
        if question not in self.predictions:
            self.predictions[question] = right
            self._write()

    def solved(self, exercise: str) -> bool:
        return bool(self.checks.get(exercise, {}).get("solved"))

    def reset(self) -> None:
        """Forget everything."""
        self.checks, self.hints, self.predictions = {}, {}, {}
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"checks": self.checks, "hints": self.hints, "predictions": self.predictions}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path)
