"""A training in another process, on any number of ranks, seen and steered through the folder of its run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from lab_utils.bench.watch import POLL_SECONDS, StepFile
from nanokimi import checkpoint
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.runs.folder import LOG, list_checkpoints, step_of
from nanokimi.runs.wishes import WISHES, Wishes, write_wishes
from nanokimi.steering import EndTraining, Steer

SAVED_WITHIN_S = 30.0  # after the line of an evaluation, its checkpoint is there


def follow_run(
    folder: str | Path,
    model: Model | None = None,
    steer: Steer | None = None,
    is_over: Callable[[], bool] = lambda: False,
    skip: StepFile | None = None,
) -> Iterator[StepRecord]:
    """The records of the run that `nanokimi train --out FOLDER` writes, as they come, up to its last step.

    The caller may look at it with the training panel, as at a training of its own:

        records = follow_run(folder, model, panel.steer)
        async for record in panel.track(records, arm, model): ...

    model: gets the weights of a checkpoint before the record of its evaluation. One that the run has deleted because it
        is further already, is left out.
    steer: is asked twice a second, and its answer is written to the folder: the run waits while the answer takes, and
        saves and ends at `EndTraining`. Changes act between two of its steps.
    is_over: says that nobody trains there any more, where the run may end before its last step.
    skip: the log of an older run in the folder, read to its end; what it holds is left out.

    Each step comes once, also where the run is killed, begun again, and takes some of them a second time.
    """
    folder, file = Path(folder), skip or StepFile(Path(folder))
    messenger = _Messenger(folder, steer or (lambda step: ()))
    step = 0
    try:
        while not messenger.has_stopped:
            ended = is_over()  # asked before reading, so that the last lines are read
            for line in file.read_new():
                record = StepRecord.from_dict(line)
                if record.step <= step:
                    continue
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
    """Asks a steer, and writes what it says into the folder of the run, once its first step is logged.

    A training that begins deletes what an earlier one was asked, so what is asked before that is written afterwards.
    """

    def __init__(self, run_dir: Path, steer: Steer):
        self.has_stopped = False  # the run was told to
        self._said = self._written = Wishes()
        self._run_dir, self._steer = run_dir, steer
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
        self._said = Wishes(self._asked is not None, stop or self._said.stop, self._said.settings | changes)
        self._write()
        if not self.has_stopped:
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - started)))

    def close(self, step: int) -> None:
        """Ask once more, so that a stop reaches the run also where nobody reads on."""
        if not self.has_stopped:
            self.ask(step)
        self._pool.shutdown(wait=False)

    def _write(self) -> None:
        """Write what was said, where the file does not hold it yet, or no more."""
        if not (self._run_dir / LOG).exists():
            return
        held = self._written if (self._run_dir / WISHES).exists() else Wishes()
        if self._said != held:
            write_wishes(self._run_dir, self._said)
            self._written = self._said
        self.has_stopped = self._said.stop


def _load(model: Model, run_dir: Path, step: int) -> None:
    """Give the model the weights of the checkpoint of this step, which is written after its line, if it still comes."""
    path, end = run_dir / f"step-{step:06d}", time.monotonic() + SAVED_WITHIN_S
    while not (path / "checkpoint.json").exists():
        if time.monotonic() > end or any(step_of(each) > step for each in list_checkpoints(run_dir)):
            return
        time.sleep(0.05)
    try:
        model.load_state_dict(checkpoint.load_checkpoint(path).model.state_dict())
    except checkpoint.CheckpointError:
        if path.exists():  # else the run has deleted it meanwhile
            raise
