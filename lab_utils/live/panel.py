"""The training panel: watch a training while it runs, pause it, stop it, steer it.

    with TrainingPanel(corpus) as panel:
        async for record in panel.track(train(model, corpus, cfg, run_dir, steer=panel.steer), arm, model):
            ...

The loop stays the caller's. Each step runs on a thread of its own while the async cell waits for it, so the
kernel hears every click at once. The training asks several times in a step what was clicked, and between the batches
of an evaluation. A pause begins there; a step that a click changes begins again. Without a front end there are no
widgets. In both cases one static picture of the final state stays in the notebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from IPython.display import DisplayHandle, display

from lab_utils.bench.plan import Arm
from lab_utils.live.data import measure_bits_per_nat
from lab_utils.live.history import RunHistory
from lab_utils.live.picture import make_closing_snapshot
from lab_utils.live.sample import write_sample
from lab_utils.machine.front_end import answer_widgets, is_live
from nanokimi.config import ConfigError
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.steering import EndTraining, Intervention, Steering
from nanokimi.step import TrainingDiverged
from nanokimi.text.corpus import Corpus

REDRAW_EVERY = 1.0  # seconds at least: a browser on the same cores draws much more slowly than the kernel
SHARE = 0.015  # of the time, at most, goes into drawing
# Seconds of drawing beyond that: the first pictures of a training take longer than the later ones.
CREDIT = 0.3
# Seconds at most, whatever drawing costs: a picture that stands still looks like a hung training.
NEWS_EVERY = 10.0


class TrainingPanel:
    """One panel for the trainings of one cell, one after another. As a context manager it closes at the end."""

    def __init__(self, corpus: Corpus):
        self._corpus, self._bits = corpus, measure_bits_per_nat(corpus)
        self.histories: list[RunHistory] = []
        self.stopped = False
        self._going = threading.Event()  # unset while paused
        self._going.set()
        self._requests: dict[str, object] = {}  # setting: the value asked for last
        self._model: Model | None = None
        self._steering = Steering()
        self._running: Iterator[StepRecord] | None = None
        self._view = None
        self._handle: DisplayHandle | None = None
        self._ending = ""
        self._hearing = contextlib.ExitStack()
        self._drawn = self._began = self._draw_seconds = 0.0
        if is_live():
            from lab_utils.live.widgets import LiveView  # headless runs never load widgets

            self._view = LiveView(self, self._bits)

    # ------------------------------------------------------------ the life of a panel

    def __enter__(self) -> TrainingPanel:
        if self._view is not None:
            self._hearing.enter_context(answer_widgets())
            self._handle = display(self._view.widget, display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what still runs (its checkpoint is kept) and leave a static picture in place of the widgets."""
        if self._running is not None:
            self._running.close()
        self._running = self._model = None
        snapshot = make_closing_snapshot(self.histories, self._bits)
        shown = snapshot or {"text/plain": "No step was taken."}
        if self._handle is not None:
            self._handle.update(shown, raw=snapshot is None)
        else:
            display(shown, raw=snapshot is None)
        if self._view is not None:
            self._view.close(snapshot.html() if snapshot else "")
            self._hearing.close()
        self._view = self._handle = None
        if self._ending:
            display({"text/plain": self._ending}, raw=True)
        for history in self.histories:
            if history.sample:
                text = f"{history.name} wrote after step {history.evaluations[-1].step}: {history.sample}"
                display({"text/plain": text}, raw=True)

    async def track(self, records: Iterator[StepRecord], arm: Arm, model: Model) -> AsyncIterator[StepRecord]:
        """The same records, shown as they come. Ends early at Stop, and at an interrupt as if it were Stop."""
        history = RunHistory(
            arm.name + (f", seed {arm.train.seed}" if arm.train.seed else ""),
            arm.name,
            getattr(arm.model, "first_k_dense_replace", 0),
            arm.train.qk_clip_tau,
        )
        self.histories.append(history)
        self._running, self._model, self._steering = records, model, Steering.from_config(arm.train)
        self._requests.clear()  # a click after the end of one training is not meant for the next
        if self._view is not None:
            self._view.begin(history, arm, model)
            self._drawn, self._draw_seconds, self._began = 0.0, 0.0, time.perf_counter()
        worker = ThreadPoolExecutor(1, "training")
        try:
            while (record := await self._next(records, worker)) is not None:
                self._take(record, history, model)
                yield record
                self._redraw_if_due()
                if self.stopped:
                    break
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.stop()
        except TrainingDiverged as error:
            if not history.marks:
                raise
            # It diverged because somebody steered it: the picture shows that, and the later cells still run.
            self.stop()
            self._ending = f"Stopped: {error}. The checkpoint of the last evaluation is kept."
        finally:
            worker.shutdown()
            records.close()
            # The next training measures its memory, so nothing of this one may stay in it.
            self._running = self._model = None
            if self._view is not None:
                self._view.redraw(self.histories)

    # ------------------------------------------------------------ what the controls do

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    def pause(self) -> None:
        """Hold the training where it asks next, and draw all that was done."""
        self._going.clear()
        if self._view is not None:
            self._redraw()

    def go_on(self) -> None:
        self._going.set()

    def stop(self) -> None:
        """End now. The step under way is given up; the checkpoint holds the steps before it."""
        self.stopped = True
        self._going.set()

    def request(self, what: str, value: object) -> str:
        """Ask for a change from the step under way on. The answer says what is wrong with it; empty if nothing is."""
        last = self.histories[-1].last if self.histories else None
        step = last.step + 1 if last else 1
        try:
            asked = Intervention(step, what, value)
            if self._model is not None:
                asked.check_fits(self._model)
        except ConfigError as error:
            return str(error)
        self._requests[what] = asked.value
        return ""

    def steer(self, step: int) -> Sequence[Intervention]:
        """For `train(..., steer=panel.steer)`, on its thread: what to change from `step` on. Waits while paused."""
        self._going.wait()
        if self.stopped:
            raise EndTraining
        asked = [Intervention(step, what, value) for what, value in self._requests.copy().items()]
        return [each for each in asked if getattr(self._steering, each.what) != each.value]

    # ------------------------------------------------------------ a step, and what comes between two

    async def _next(self, records: Iterator[StepRecord], worker: ThreadPoolExecutor) -> StepRecord | None:
        """The next record, None at the end. The worker makes it while this thread listens to the widgets.

        An interrupt arrives here, not in the step, and ends the training as Stop does.
        """
        step = worker.submit(next, records, None)
        try:
            return await asyncio.shield(asyncio.wrap_future(step))
        except (KeyboardInterrupt, asyncio.CancelledError):
            self.stop()
            return step.result()

    def _take(self, record: StepRecord, history: RunHistory, model: Model) -> None:
        first_mark = 1 + sum(len(each.marks) for each in self.histories)
        history.add(record, first_mark)
        self._steering = self._steering.intervene(record.interventions)
        if record.evaluation is not None and math.isfinite(record.evaluation.loss):
            history.sample = write_sample(model, self._corpus, self._steering.inference_top_k)

    def _redraw_if_due(self) -> None:
        now = time.perf_counter()
        affordable = self._draw_seconds <= SHARE * (now - self._began) + CREDIT
        wait = REDRAW_EVERY if affordable else NEWS_EVERY
        if self._view is not None and now - self._drawn >= wait:
            self._redraw()

    def _redraw(self) -> None:
        started = time.perf_counter()
        self._view.redraw(self.histories)
        self._drawn = time.perf_counter()
        self._draw_seconds += self._drawn - started
