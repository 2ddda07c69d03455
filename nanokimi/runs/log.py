"""The log of a run: a line of JSON per step, kept by the step's number."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanokimi.runs.folder import LOG, explain_gone
from nanokimi.system import atomic
from nanokimi.system.printable import OneLineError, quote

_LONGEST_LINE = 1 << 24  # bytes: a step of 61 layers with 384 experts each takes about a million
_LARGEST_LOG = 1 << 33
_MOST_GAPS = 5  # that a note names


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
        if gone := explain_gone(run_dir):  # else it would be made again, without what else belongs to a run
            raise LogError(gone)
        self._write_all(
            "".join(line for _, line in _read_lines(self._path, keep_steps)) if keep_steps else ""
        )

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
        gone = explain_gone(self._path.parent)
        return LogError(gone or f"log {quote(str(self._path))} cannot be written: {error.strerror}")


def describe_gaps(path: Path, done: int) -> str:
    """A line that says which of the steps 1 to `done` have no line in the log at `path`; empty where all have one."""
    gaps, last = list[str](), 0
    for step in (*(step for step, _ in _read_lines(path, done)), done + 1):
        if step == last + 2:
            gaps.append(f"{step - 1}")
        elif step > last + 1:
            gaps.append(f"{last + 1} to {step - 1}")
        last = step
    if not gaps:
        return ""
    more = f" and {len(gaps) - _MOST_GAPS} more gaps" if len(gaps) > _MOST_GAPS else ""
    steps = "step" if len(gaps) == 1 and gaps[0].isdigit() else "steps"
    return (
        f"{quote(str(path))} has no line, or a damaged one, for {steps} {', '.join(gaps[:_MOST_GAPS])}{more}: "
        "the checkpoint holds what they learned, but no chart can show them"
    )


def _open_own(path: str, flags: int) -> int:
    """Open a file that is no link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)


def _read_lines(path: Path, keep_steps: int) -> Iterator[tuple[int, str]]:
    """The lines of steps up to `keep_steps`, each with its number and its new line, in rising order."""
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
                yield step, line.decode()


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
