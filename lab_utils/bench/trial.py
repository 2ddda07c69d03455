"""Observes a training from outside: its time, its memory, and the exact tokens that the model gets."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from lab_utils.bench.plan import Arm
from lab_utils.bench.results import MOST_BYTES, Point, Run, run_folder
from lab_utils.machine.memory import PeakMemory
from nanokimi import ranks
from nanokimi.model import Model
from nanokimi.record import StepRecord
from nanokimi.step import TrainingDiverged
from nanokimi.system.reading import UnreadableFile, read_small_json

RUN = "run.json"  # what a training that nobody attends keeps of itself, beside its checkpoints


def read_run(run_dir: Path) -> Run | None:
    """What a training has kept of itself; None where it has kept nothing, or its file cannot be read."""
    try:
        return TypeAdapter(Run).validate_python(read_small_json(run_dir / RUN, MOST_BYTES))
    except (UnreadableFile, ValidationError):
        return None


@dataclass(frozen=True)
class Earlier:
    """What an earlier try of the same training left: its facts up to its checkpoint, and the hash of its tokens."""

    run: Run
    tokens_seen: hashlib._Hash


class Trial:
    """Observes the training of one arm with one seed; `run()` returns the facts afterwards.

    A training that diverges ends its block without an error: it is noted, and the other arms are trained all the same.

    with Trial(arm, model, out_dir) as trial:
        for record in train(model, corpus, arm.train, trial.run_dir):
            trial.add(record)
    results.append(trial.run())

    earlier: where the training goes on from a checkpoint, what is known of it up to there.

    On ranks each of them has a trial, and all ask for `run()` together. In the process that only looks at them, the
    facts are those that they have kept.
    """

    def __init__(self, arm: Arm, model: Model, out_dir: Path, earlier: Earlier | None = None):
        self.arm, self.seed = arm, arm.train.seed
        self.run_dir = run_folder(out_dir, arm.name, self.seed)
        self._model, self._memory = model, PeakMemory(arm.train.device)
        self._points: list[Point] = []
        self._tokens_seen = hashlib.sha256()
        self._tokens: list[torch.Tensor] = []  # of the step under way
        self._looks_on = arm.ranks != ranks.n_ranks()
        self._interventions: list[dict[str, Any]] = []
        self._train_seconds = self._wall_seconds = self._compile_seconds = 0.0
        self._diverged: TrainingDiverged | None = None
        self._earlier = None if earlier is None else earlier.run
        if earlier is not None:
            self._points += earlier.run.points
            self._tokens_seen = earlier.tokens_seen.copy()
            self._interventions += earlier.run.interventions
            self._train_seconds = earlier.run.train_seconds
            self._compile_seconds = earlier.run.compile_seconds

    def __enter__(self) -> Trial:
        self._hook = self._model.register_forward_pre_hook(self._note_tokens)
        self._memory.start()
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self._measure()
        self._hook.remove()
        del self._model  # frees it, so that its memory is not counted for the next arm
        if isinstance(error, TrainingDiverged):
            # Without the frames that it came through, which hold the model.
            self._diverged = error.with_traceback(None)
        return self._diverged is not None

    def _measure(self) -> None:
        """Note the time and the memory until now, with those of an earlier try."""
        self._wall_seconds = time.perf_counter() - self._started
        self._memory.stop()
        if self._earlier is not None:
            self._wall_seconds += self._earlier.wall_seconds
            known = [each for each in (self._memory.peak, self._earlier.peak_memory) if each is not None]
            self._memory.peak = max(known, default=None)

    def _note_tokens(self, module: torch.nn.Module, args: tuple) -> None:
        if torch.is_grad_enabled():  # evaluations run without gradients; they are the same for all arms
            self._tokens.append(args[0].cpu())

    def add(self, record: StepRecord) -> None:
        """Note what a step record says: time, interventions, and the evaluation if there is one."""
        for tokens in ranks.in_turn(self._tokens):
            self._tokens_seen.update(tokens.numpy().tobytes())
        self._tokens = []
        self._train_seconds = record.seconds
        self._compile_seconds += record.compile_seconds
        self._interventions += [each.to_dict() for each in record.interventions]
        if record.evaluation is not None:
            facts = asdict(record.evaluation)
            del facts["n_tokens"]
            self._points.append(
                Point(step=record.step, tokens=record.tokens, seconds=record.seconds, **facts)
            )

    def run_so_far(self) -> Run:
        """The facts of the training up to now, inside the block."""
        self._measure()
        return self.run()

    def run(self) -> Run:
        """The facts of the training, for results.json."""
        if self._looks_on and (kept := read_run(self.run_dir)) is not None:
            return kept
        return Run(
            arm=self.arm.name,
            seed=self.seed,
            n_steps=self.arm.train.steps,
            points=tuple(self._points),
            train_seconds=self._train_seconds,
            wall_seconds=self._wall_seconds,
            compile_seconds=self._compile_seconds,
            peak_memory=_largest(self._memory.peak),
            start_memory=_largest(self._memory.at_start),
            batch_digest=self._tokens_seen.hexdigest(),
            interventions=tuple(self._interventions),
            diverged_at=None if self._diverged is None else self._diverged.step,
            diverged_because="" if self._diverged is None else str(self._diverged),
            ranks=self.arm.ranks,
        )


def _largest(size: int | None) -> int | None:
    """The largest of the sizes of all ranks."""
    return None if size is None else int(ranks.maxima(torch.tensor(float(size), dtype=torch.float64)))
