"""A training in another process, on any number of ranks, seen and steered through the folder of its run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from lab_utils.bench.watch import POLL_SECONDS, StepFile
from nanokimi import checkpoint
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.runs.wishes import Wishes, write_wishes
from nanokimi.steering import EndTraining, Steer

SAVED_WITHIN_S = 30.0  # after the line of an evaluation, its checkpoint is there


def follow_run(
    folder: str | Path,
    model: Model | None = None,
    steer: Steer | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[StepRecord]:
    """The records of the run that `nanokimi train --out FOLDER` writes, as they come, up to its last step.

    The caller may look at it with the training panel, as at a training of its own:

        records = follow_run(folder, model, panel.steer)
        async for record in panel.track(records, arm, model): ...

    model: gets the weights of every checkpoint, before the record of its evaluation.
    steer: is asked twice a second, and its answer is written to the folder: the run waits while the answer takes, and
        saves and ends at `EndTraining`. Changes act between two of its steps.
    is_over: says that nobody trains there any more, where the run may end before its last step.
    """
    folder, file = Path(folder), StepFile(Path(folder))
    messenger = _Messenger(folder, steer or (lambda step: ()))
    step = 0
    try:
        while not messenger.said.stop:
            ended = is_over()  # asked before reading, so that the last lines are read
            for line in file.read_new():
                record = StepRecord.from_dict(line)
                step = record.step
                if record.evaluation is not None and model is not None:
                    _load(model, folder, step)
                yield record
                if step == record.n_steps:
                    return
            if ended:
                return
            messenger.ask(step + 1)
    finally:
        messenger.close(step + 1)


class _Messenger:
    """Asks a steer, and writes what it says into the folder of the run."""

    def __init__(self, folder: Path, steer: Steer):
        self.said = Wishes()
        self._folder, self._steer = folder, steer
        self._pool, self._asked = ThreadPoolExecutor(1, "steer"), None

    def ask(self, step: int) -> None:
        """Ask, for POLL_SECONDS at most: a steer that takes longer is holding the training."""
        started = time.monotonic()
        asked: Future = self._asked or self._pool.submit(self._steer, step)
        changes, stop = {}, False
        if not wait([asked], POLL_SECONDS).done:
            self._asked = asked
        else:
            self._asked = None
            try:
                changes = {each.what: each.to_dict()["value"] for each in asked.result()}
            except EndTraining:
                stop = True
        self._say(Wishes(self._asked is not None, stop, self.said.settings | changes))
        if not stop:
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started)))

    def close(self, step: int) -> None:
        """Ask once more, so that a stop reaches the run also where nobody reads on."""
        if not self.said.stop:
            self.ask(step)
        self._pool.shutdown(wait=False)

    def _say(self, wishes: Wishes) -> None:
        if wishes != self.said:
            self.said = wishes
            with contextlib.suppress(FileNotFoundError):  # the folder is not there yet, or no more
                write_wishes(self._folder, wishes)


def _load(model: Model, folder: Path, step: int) -> None:
    """Give the model the weights of the checkpoint of this step, which is written after its line."""
    path, end = folder / f"step-{step:06d}", time.monotonic() + SAVED_WITHIN_S
    while not (path / "checkpoint.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    with contextlib.suppress(checkpoint.CheckpointError):  # the run is further already, and has deleted it
        model.load_state_dict(checkpoint.load_checkpoint(path).model.state_dict())
