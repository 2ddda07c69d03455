"""Progress bars for trainings that run in another process; they read steps.jsonl while it grows."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

POLL_SECONDS = 0.5
LINE_EVERY_SECONDS = 10.0  # where the stream is no terminal


@dataclass(frozen=True)
class Expected:
    """A training that will write `folder`/steps.jsonl."""

    name: str
    folder: Path
    n_steps: int


class StepFile:
    """A growing steps.jsonl, read piece by piece."""

    def __init__(self, folder: Path):
        self._path = folder / "steps.jsonl"
        self._offset, self._number = 0, None

    def exists(self) -> bool:
        return self._path.exists()

    def read_new(self) -> list[dict]:
        """The records that were added since the last call; a line that is still being written comes next time.

        A log that was begun again, as a training does that goes on after a kill, is read from its first line.
        """
        try:
            with self._path.open("rb") as file:
                number = os.fstat(file.fileno()).st_ino
                if number != self._number:
                    self._offset, self._number = 0, number
                file.seek(self._offset)
                data = file.read()
        except OSError:  # not begun, or gone: whoever trains there says so
            return []
        whole, newline, _ = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]


class Watcher:
    """Shows the progress of trainings, one after another, from a thread: `with Watcher(expected, sys.stderr): ...`

    On a terminal there is a bar per model, elsewhere a plain line about every ten seconds.
    """

    def __init__(self, expected: Sequence[Expected], stream: TextIO):
        show = ProgressBar if stream.isatty() else LogLines
        self._todo = [(StepFile(each.folder), show(each, stream), each.n_steps) for each in expected]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        for number, (file, view, n_steps) in enumerate(self._todo, start=1):
            step, later = 0, [each for each, *_ in self._todo[number:]]
            while step < n_steps:
                # Asked before reading, so that what was written until the end is still shown. A training that diverges
                # never reaches its last step; then the next one begins.
                ending = self._stop.is_set() or any(each.exists() for each in later)
                if records := file.read_new():
                    step = records[-1]["step"]
                    view.update(records)
                if ending:
                    break
                if step < n_steps:
                    self._stop.wait(POLL_SECONDS)
            view.close()


class ProgressBar:
    """A tqdm bar; it appears with the first step."""

    def __init__(self, expected: Expected, stream: TextIO):
        self._expected, self._stream, self._bar = expected, stream, None

    def update(self, records: list[dict]) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=self._expected.n_steps,
                desc=self._expected.name,
                unit="step",
                file=self._stream,
                dynamic_ncols=True,
            )
        self._bar.set_postfix_str(_facts(records), refresh=False)
        self._bar.update(records[-1]["step"] - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class LogLines:
    """A line every ten seconds, for logs."""

    def __init__(self, expected: Expected, stream: TextIO):
        self._expected, self._stream, self._shown = expected, stream, time.monotonic()

    def update(self, records: list[dict]) -> None:
        last = records[-1]
        done, n_steps = last["step"], self._expected.n_steps
        now = time.monotonic()
        if done < n_steps and now - self._shown < LINE_EVERY_SECONDS:
            return
        self._shown = now
        left = last["seconds"] / done * (n_steps - done)
        ending = f"about {left:.0f} s left" if done < n_steps else "done"
        with contextlib.suppress(OSError):  # a terminal that was closed meanwhile stops no work
            self._stream.write(f"{self._expected.name}: step {done}/{n_steps}, {_facts(records)}, {ending}\n")
            self._stream.flush()

    def close(self) -> None:
        pass


def _facts(records: list[dict]) -> str:
    last = records[-1]
    speed = sum(record["tokens_per_s"] for record in records) / len(records)
    return f"loss {last['loss']:.3f}, {speed:,.0f} tokens/s"
