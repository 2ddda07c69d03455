"""A training, or the timing of all arms, as a job that another machine may run: it needs nothing but this call.

A training keeps what is known of it in run.json, beside its checkpoints. Begun again after a kill, it goes on from
there, and ends with the same bits on a CPU. It obeys steer.json in its folder, as `nanokimi train` does. Several ranks
make the call together: rank 0 alone reads and writes.
"""

from __future__ import annotations

import copyreg
import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nanokimi
from lab_utils.bench.plan import Arm, Plan
from lab_utils.bench.results import Run, run_folder
from lab_utils.bench.timing import time_in_turns
from lab_utils.bench.trial import RUN, Earlier, Trial, read_run
from lab_utils.machine.describe import describe, environment
from nanokimi import checkpoint
from nanokimi.cli.outside import Outside
from nanokimi.config import DataConfig
from nanokimi.runs import folder
from nanokimi.runs.wishes import forget_wishes
from nanokimi.steering import Intervention
from nanokimi.system.atomic import remove_folder, write_json
from nanokimi.system.memory import keep_freed_memory
from nanokimi.text.corpus import Corpus, batch, load_corpus
from nanokimi.torchrun import ask_first, rank

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# An arm goes to its job with what makes its model: for most the package itself, which travels as its name.
copyreg.pickle(type(nanokimi), lambda package: (importlib.import_module, (package.__name__,)))


@dataclass(frozen=True)
class Training:
    """A call trains `arm` on the text of `data` and returns the facts; a second call goes on where the first was."""

    data: DataConfig
    arm: Arm
    out: Path

    def __call__(self) -> Run:
        keep_freed_memory()
        corpus = load_corpus(self.data, seq_len=self.arm.train.seq_len)
        return train_on(self.arm.with_vocabulary_of(corpus), corpus, self.out)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues where SLURM takes the machine away, or the time is over: the same call again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True)
class Timed:
    """Step times, measured in turns on one device, and the environment that they were measured in."""

    step_seconds: dict[str, tuple[float, ...]]
    environment: dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """A call measures the step times of all arms of a plan, in turns in one process."""

    plan: Plan

    def __call__(self) -> Timed:
        keep_freed_memory()
        corpus = load_corpus(self.plan.data, seq_len=self.plan.arms[0].train.seq_len)
        arms = self.plan.with_vocabulary_of(corpus).arms
        return Timed(time_in_turns(arms, corpus), environment(arms[0].train.device))


def train_on(arm: Arm, corpus: Corpus, out: Path) -> Run:
    """Train an arm, from where an earlier try of it in the folder `out` has stopped, and return the facts.

    A training that has ended already, or diverged, is not begun again.
    """
    run_dir = run_folder(out, arm.name, arm.train.seed)
    before = ask_first(partial(read_run, run_dir))
    if before is not None and (before.complete or before.diverged_at is not None):
        return before
    here = describe(environment(arm.train.device)["machine"])
    tries = (*(() if before is None else before.tries), here)

    def keep(run: Run) -> Run:
        run = replace(run, tries=tries)
        if rank() == 0:
            write_json(run_dir / RUN, asdict(run))
        return run

    goes_on = before is not None and ask_first(partial(_has_checkpoint_of, before, run_dir))
    earlier = _hash_again(before, arm, corpus) if before is not None and goes_on else None
    model = arm.maker.build_model(arm.model, seed=arm.train.seed)
    outside, is_begun = Outside(run_dir, model), False

    def steer(step: int) -> Sequence[Intervention]:
        nonlocal is_begun
        if not is_begun:  # only now the folder is ours
            forget_wishes(run_dir)
            is_begun = True
        return outside.ask(step, lambda: False)

    with Trial(arm, model, out, earlier) as trial:
        keep(trial.run_so_far())
        for record in arm.maker.train(
            model, corpus, arm.train, run_dir, resume=earlier is not None, steer=steer
        ):
            trial.add(record)
            outside.see(record)
            if record.evaluation is not None:  # the checkpoint of this step has just been written
                keep(trial.run_so_far())
    return keep(trial.run())


def _has_checkpoint_of(before: Run, run_dir: Path) -> bool:
    """Whether the newest checkpoint is of the step that was kept last; else the training begins anew.

    `CheckpointError` where there are some and none of them loads. A newer checkpoint is deleted: its try ended in the
    moment before it was noted in run.json.
    """
    if not before.points:
        return False
    step = before.points[-1].step
    for each in folder.list_checkpoints(run_dir):
        if folder.step_of(each) > step:
            remove_folder(each)
    return checkpoint.has_checkpoint(run_dir) and checkpoint.load_checkpoint(run_dir).state.step == step


def _hash_again(before: Run, arm: Arm, corpus: Corpus) -> Earlier | None:
    """The earlier try with the hash of its tokens, which no file can keep; None where they are not those it had."""
    seen, cfg = hashlib.sha256(), arm.train
    for index in range(before.points[-1].step * cfg.grad_accum):
        inputs, _ = batch(corpus.train, index, batch_size=cfg.batch_size, seq_len=cfg.seq_len, seed=cfg.seed)
        seen.update(inputs.numpy().tobytes())
    return Earlier(before, seen) if seen.hexdigest() == before.batch_digest else None
