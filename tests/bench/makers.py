"""What jobs of the tests do in place of the core's training, in processes of their own: they import this module."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nanokimi
from lab_utils.bench.plan import Plan
from lab_utils.bench.results import Results, collect
from lab_utils.bench.trial import Trial
from nanokimi.text.corpus import Corpus
from nanokimi.torchrun import n_ranks, rank


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """A block that a `TimeoutError` ends after so many seconds: what waits for processes must not wait for ever."""

    def stop(*_):
        raise TimeoutError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Core:
    """Builds and trains as the core does, and notes in `log` at which step each try begins."""

    def __init__(self, log: Path):
        self.log = log

    def build_model(self, cfg, seed=0):
        return nanokimi.build_model(cfg, seed=seed)

    def train(self, model, corpus, cfg, run_dir=None, **more):
        for number, record in enumerate(nanokimi.train(model, corpus, cfg, run_dir, **more)):
            if run_dir is not None and number == 0:
                with self.log.open("a") as file:
                    file.write(f"{record.step}\n")
            yield record
            if run_dir is not None:
                self.after(record.step)

    def after(self, step: int) -> None:
        pass

    def begun(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()]


class KilledAt(Core):
    """Its first try gets a signal after `step`: SIGKILL as of a machine that fails, SIGUSR2 as of a preemption."""

    def __init__(self, log: Path, step: int, number: int = signal.SIGKILL):
        super().__init__(log)
        self.step, self.number = step, number

    def after(self, step: int) -> None:
        if step == self.step and len(self.begun()) == 1:
            os.kill(os.getpid(), self.number)


class Failing(Core):
    """Each try fails at its first step."""

    def after(self, step: int) -> None:
        raise RuntimeError("no luck\nat all")


@dataclass(frozen=True)
class Sleeper:
    """A call notes its process in `file` and sleeps for ten minutes."""

    file: Path

    def __call__(self) -> None:
        self.file.write_text(str(os.getpid()))
        time.sleep(600)


@dataclass(frozen=True)
class Threads:
    """A call returns how many threads the processor's share of this job has, and the GPUs that it sees."""

    def __call__(self) -> tuple[str, str]:
        return os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]


def note_rank(folder: Path, seconds: float) -> tuple[int, int]:
    """A call of ranks: notes its process, sleeps, and returns its number and how many there are."""
    (folder / f"rank-{rank()}").write_text(str(os.getpid()))
    time.sleep(seconds)
    return rank(), n_ranks()


def fail_on(folder: Path, error: type[Exception]) -> None:
    """A call of ranks that fails; rank 0 notes each try."""
    if rank() == 0:
        with (folder / "begun").open("a") as file:
            file.write("0")
    raise error("no such setting")


def train_briefly(plan: Plan, text: Corpus, out: Path) -> tuple[Plan, Results]:
    """Each arm of the plan trained for two steps in the folder `out`."""
    short = dict(steps=2, eval_every=2, warmup_steps=1, eval_windows=2)
    plan = replace(plan, arms=tuple(replace(a, train=replace(a.train, **short)) for a in plan.arms))
    runs = []
    for arm in plan.trials():
        model = nanokimi.build_model(arm.model, seed=arm.train.seed)
        with Trial(arm, model, out) as trial:
            for record in nanokimi.train(model, text, arm.train, trial.run_dir):
                trial.add(record)
        runs.append(trial.run())
    return plan, collect(plan, text, runs, {})
