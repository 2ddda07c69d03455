"""The learner's logbook: which exercises are solved, which hints and answers were taken, how predictions came out.

A small JSON file on the learner's own machine, at `NANOKIMI_PROGRESS` or in the user's data folder. Nothing leaves
the machine. Several notebooks may write it at once: each takes a lock, reads what is there, and adds to it. Where it
cannot be read or written, a line on stderr says so, and the notebook goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from nanokimi.system import atomic
from nanokimi.system.lock import Taken, hold
from nanokimi.system.printable import one_line

KINDS = {
    "checks": dict,
    "hints": int,
    "predictions": bool,
    "revealed": bool,
}  # what the file holds, of which type
MOST_BYTES = 1 << 24  # a course's entries take thousands
WAIT_S = 10.0  # for other notebooks; an entry takes them milliseconds


def logbook_path() -> Path:
    """Where the logbook is: `NANOKIMI_PROGRESS`, or nanokimi/progress.json in the user's data folder."""
    if named := os.environ.get("NANOKIMI_PROGRESS"):
        return Path(named)
    try:
        folder = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    except (
        RuntimeError
    ):  # a user without a home, as in some containers: every note says that it cannot be kept
        folder = Path(os.devnull)
    return folder / "nanokimi" / "progress.json"


@dataclass
class Logbook:
    """The file's content. Each `note_...` writes the file at once."""

    path: Path
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # exercise: {"solved", "attempts"}
    hints: dict[str, int] = field(default_factory=dict)  # exercise: how many were taken
    revealed: dict[str, bool] = field(
        default_factory=dict
    )  # exercise: its answer was shown before it was solved
    predictions: dict[str, bool] = field(default_factory=dict)  # question: was the guess right

    @classmethod
    def open(cls, path: Path | None = None) -> Logbook:
        """The logbook as it is now. A damaged file gets another name, and a new one begins."""
        logbook = cls(path or logbook_path())
        with _said(f"The logbook {logbook.path} cannot be read"):
            try:
                logbook._read()
            except ValueError:
                with _alone(logbook.path):
                    logbook._read_or_set_aside()
        return logbook

    def note_check(self, exercise: str, status: str) -> None:
        """Count one more attempt; a solved exercise stays solved. An untouched stub is no attempt, a begun one is."""
        if status == "not tried":
            return

        def add() -> None:
            before = self.checks.get(exercise, {"solved": False, "attempts": 0})
            self.checks[exercise] = {
                "solved": before["solved"] or status == "passed",
                "attempts": before["attempts"] + 1,
            }

        self._add(add)

    def note_hint(self, exercise: str, number: int) -> None:
        """Keep the number of the last hint that was read."""
        self._add(lambda: self.hints.update({exercise: max(self.hints.get(exercise, 0), number)}))

    def note_reveal(self, exercise: str) -> None:
        """Keep that the answer was shown. Who has solved the exercise before may look: that is not kept."""

        def add() -> None:
            if not self.checks.get(exercise, {}).get("solved"):
                self.revealed[exercise] = True

        self._add(add)

    def note_prediction(self, question: str, right: bool) -> None:
        """Keep whether the first guess was right. Later ones do not count: the answer is on the screen then."""
        self._add(lambda: self.predictions.setdefault(question, right))

    def solved(self, exercise: str) -> bool:
        """Whether an answer passed before the lab's was shown."""
        return self._passed(exercise) and exercise not in self.revealed

    def read(self, exercise: str) -> bool:
        """Whether an answer passed after the lab's was shown, and none before."""
        return self._passed(exercise) and exercise in self.revealed

    def begun(self, exercise: str) -> bool:
        """Whether something was tried that has not passed yet."""
        return exercise in self.checks and not self._passed(exercise)

    def _passed(self, exercise: str) -> bool:
        return bool(self.checks.get(exercise, {}).get("solved"))

    def reset(self) -> None:
        """Delete the logbook."""
        self._clear()
        with _said(f"The logbook {self.path} cannot be deleted"), _alone(self.path):
            with contextlib.suppress(FileNotFoundError, ValueError):
                _check_kind(self.path)
            self.path.unlink(missing_ok=True)

    # ------------------------------------------------------------ the file

    def _add(self, entry: Callable[[], Any]) -> None:
        """Make an entry in what the file holds now, and write it. Where that is not possible it is made here only."""
        written = False
        with _said(f"Not kept: the logbook {self.path} cannot be written"), _alone(self.path):
            self._read_or_set_aside()
            entry()
            written = True
            atomic.write_json(self.path, {kind: getattr(self, kind) for kind in KINDS})
        if not written:
            entry()

    def _read_or_set_aside(self) -> None:
        """Read the file; a damaged one gets another name. The lock is held: nobody puts a good one there meanwhile."""
        try:
            self._read()
        except ValueError as error:
            names = (self.path.with_suffix(".damaged" + (f"-{n}" if n > 1 else "")) for n in count(1))
            aside = next(name for name in names if not os.path.lexists(name))
            self.path.replace(aside)
            self._clear()
            _say(f"The logbook was damaged ({error}): it is kept as {aside}, and a new one begins.")

    def _read(self) -> None:
        """Take what the file holds. `ValueError` for a damaged one, `OSError` where it cannot be read."""
        try:
            _check_kind(self.path)
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if isinstance(found, dict):
            found.setdefault("revealed", {})  # logbooks of 0.3.0 and before have none
        if not isinstance(found, dict) or not all(isinstance(found.get(kind), dict) for kind in KINDS):
            raise ValueError(f"it must hold {', '.join(KINDS)}")
        for kind, what in KINDS.items():
            for name, entry in found[kind].items():
                if type(entry) is not what or (what is dict and not _is_count(entry)):
                    raise ValueError(f"{kind} of {name} must not be {entry!r}")
        for kind in KINDS:
            setattr(self, kind, found[kind])

    def _clear(self) -> None:
        for kind in KINDS:
            setattr(self, kind, {})


def _check_kind(path: Path) -> None:
    """`OSError` for a folder, a device or a pipe, of which reading may never end; `ValueError` for a huge file."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file but a folder, a device or a pipe")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")


def _is_count(entry: dict[str, Any]) -> bool:
    return type(entry.get("solved")) is bool and type(entry.get("attempts")) is int


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Within the block no other process changes the logbook."""
    with hold(path.with_suffix(".lock"), WAIT_S):
        yield


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    """What the file system refuses inside the block becomes a line that begins with `what`."""
    try:
        yield
    except (OSError, Taken) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else error
        _say(f"{what}: {why}. NANOKIMI_PROGRESS names another file.")


def _say(line: str) -> None:
    print(one_line(line), file=sys.stderr)
