"""The log of a run: a line of JSON per step, kept by the step's number."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanokimi.runs.folder import LOG
from nanokimi.system import atomic
from nanokimi.system.printable import OneLineError, quote

_LONGEST_LINE = 1 << 24  # bytes: a step of 61 layers with 384 experts each takes about a million
_LARGEST_LOG = 1 << 33


class LogError(OneLineError):
    """A log that cannot be read or written: one line that names the file and the cause."""


class StepLog:
    """`steps.jsonl` in the folder of a run: one line of JSON per step."""

    def __init__(self, run_dir: Path, keep_steps: int):
        """Begin the log, with the lines of steps 1 to `keep_steps` that are there; a new run keeps none.

        Later lines come from steps that no checkpoint has. What is no line of a step is left out: a torn line, a step
        that comes a second time.
        """
        self._path = run_dir / LOG
        self._write_all("".join(_read_lines(self._path, keep_steps) if keep_steps else ()))

    def write(self, record: dict[str, Any]) -> None:
        """Append a record as a line."""
        line = json.dumps(record, allow_nan=False) + "\n"
        try:
            with open(self._path, "a", encoding="utf-8", opener=_open_own) as file:
                file.write(line)
        except OSError as error:
            raise self._explain(error) from None

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        try:
            atomic.sync(self._path)
        except OSError as error:
            raise self._explain(error) from None

    def _write_all(self, text: str) -> None:
        try:
            atomic.write_text(self._path, text)
        except OSError as error:
            raise self._explain(error) from None

    def _explain(self, error: OSError) -> LogError:
        return LogError(f"log {quote(str(self._path))} cannot be written: {error.strerror}")


def _open_own(path: str, flags: int) -> int:
    """Open a file that is no link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


def _read_lines(path: Path, keep_steps: int) -> Iterator[str]:
    """The lines of steps up to `keep_steps`, each with its new line, in rising order."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_LOG:
        kind = "too large" if stat.S_ISREG(found.st_mode) else "no file but a link, a folder or a pipe"
        raise LogError(f"log {quote(str(path))} is {kind}: delete it to go on without its lines")
    last = 0
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            step = _read_step(line)
            if step is not None and last < step <= keep_steps:
                last = step
                yield line.decode()


def _read_step(line: bytes) -> int | None:
    """The step of a line; None for what is no whole line of a step."""
    try:
        record = json.loads(line.decode(), parse_constant=_refuse) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if type(step) is int and step > 0 else None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
