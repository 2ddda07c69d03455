"""A plan whose trainings are made by several processes of this machine each, which torchrun starts.

The number of ranks is no part of the experiment: each step sees the windows that it sees without them, in their order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

import nanokimi
from lab_utils.bench.follow import follow_run
from lab_utils.bench.launch import Launch
from lab_utils.bench.plan import YOURS, Arm, Plan
from lab_utils.bench.timing import time_in_turns
from lab_utils.bench.trial import RUN
from lab_utils.bench.unattended import Timing, Training
from lab_utils.bench.watch import POLL_SECONDS, StepFile
from nanokimi.config import ConfigError, DataConfig, ModelConfig, TrainConfig
from nanokimi.device import choose_device
from nanokimi.model import Model, build_model
from nanokimi.record import StepRecord
from nanokimi.runs.shared import cut_for
from nanokimi.runs.wishes import Wishes, forget_wishes, write_wishes
from nanokimi.steering import Steer
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.system.refusals import require
from nanokimi.system.whole_numbers import Size
from nanokimi.text.corpus import Corpus

LOGS = "ranks"  # the folder of what torchrun and the ranks print
SECONDS_TO_SAVE = 60.0  # from a stop to the end of the step under way, and its checkpoint


@checked
def on_ranks(plan: Plan, ranks: Size) -> Plan:
    """The same plan, each training of which is made by so many processes of this machine; with 1 it stays.

    Its steps are cut into as many micro-batches as the ranks can share evenly. `ConfigError` where they cannot be, for
    more ranks than GPUs, and for an arm that is made of somebody's notebooks.
    """
    return plan if ranks == 1 else replace(plan, arms=tuple(_put(arm, plan.data, ranks) for arm in plan.arms))


def _put(arm: Arm, data: DataConfig, ranks: int) -> Arm:
    saved = f"arm {quote(YOURS)} is made of your saved notebooks, which no rank has: leave it out, or take ranks=1"
    require(arm.name != YOURS, saved)
    if choose_device(arm.train.device).type == "cuda":
        n_gpus = torch.cuda.device_count()
        require(ranks <= n_gpus, f"ranks={ranks}: each needs a GPU, and this machine has {n_gpus}")
    cut = cut_for(arm.train, ranks)
    if cut is None:
        n_windows = arm.train.batch_size * arm.train.grad_accum
        fits = ", ".join(str(n) for n in range(1, n_windows + 1) if cut_for(arm.train, n))
        raise ConfigError(
            f"ranks={ranks} cannot share the {n_windows} windows of a step evenly: take one of {fits}"
        )
    return replace(arm, train=cut, ranks=ranks, maker=_OnRanks(data, arm.name, ranks))


def describe_ranks(plan: Plan) -> str:
    """How the ranks share a step, and a word where they have to take turns; empty for a plan without ranks."""
    first, cores = plan.arms[0], os.cpu_count() or 1
    if first.ranks == 1:
        return ""
    crowded = choose_device(first.train.device).type == "cpu" and first.ranks > cores
    slow = f"; this machine has {cores} cores, so they take turns and its times say little" if crowded else ""
    return (
        f"{first.ranks} ranks train each model: a step is {first.train.grad_accum} micro-batches of "
        f"{first.train.batch_size} windows, with the same tokens as on one{slow}"
    )


def time_steps(
    plan: Plan, corpus: Corpus, out: Path, say: Callable[[str], None] = lambda line: None
) -> dict[str, tuple[float, ...]]:
    """Seconds of one optimizer step of each arm, measured in turns: in this process, or on the plan's ranks.

    `say` hears how far it is; of ranks, that they have begun and that they are done.
    """
    ranks = plan.arms[0].ranks
    if ranks == 1:
        return time_in_turns(plan.arms, corpus, say=say)
    arms = tuple(replace(arm, maker=nanokimi) for arm in plan.arms)
    say(f"{ranks} ranks time the steps of {len(arms)} models, a minute at most for each")
    with Launch(Timing(replace(plan, arms=arms)), ranks, out / LOGS / "step-times.log") as launch:
        found = launch.answer().step_seconds
    say(f"{ranks} ranks have timed the steps of {len(arms)} models")
    return found


class _OnRanks:
    """Builds models as the core does, and trains one arm on ranks, while this process looks on and steers."""

    def __init__(self, data: DataConfig, name: str, ranks: int):
        self._data, self._name, self._ranks = data, name, ranks

    def build_model(self, cfg: ModelConfig, seed: int = 0) -> Model:
        return build_model(cfg, seed)

    def train(
        self, model: Model, corpus: Corpus, cfg: TrainConfig, run_dir: Path, steer: Steer | None = None
    ) -> Iterator[StepRecord]:
        """The records of the training in `run_dir` as they come, as `nanokimi.train` gives them.

        `model` gets the weights of each evaluation. Closing the generator lets the ranks save, and end.
        """
        (run_dir / RUN).unlink(missing_ok=True)  # else they would go on with the run that is there
        older = StepFile(run_dir)
        older.read_new()
        arm = Arm(name=self._name, model=model.cfg, train=cfg, ranks=self._ranks)
        log = run_dir.parents[1] / LOGS / f"{run_dir.name}.log"
        with Launch(Training(self._data, arm, run_dir.parents[1]), self._ranks, log) as launch:
            step = 0
            try:
                for record in follow_run(run_dir, model, steer, launch.has_ended, older):
                    step = record.step
                    yield record
            finally:
                if step < cfg.steps:
                    _stop(run_dir, launch)
            if step == cfg.steps or launch.has_ended():
                launch.answer()


def _stop(run_dir: Path, launch: Launch) -> None:
    """Ask the ranks to save and end, and wait, but not for ever: whoever has started them then ends them."""
    end = time.monotonic() + SECONDS_TO_SAVE
    while not launch.has_ended() and time.monotonic() < end:
        write_wishes(run_dir, Wishes(stop=True))  # again and again: a training that begins deletes it
        time.sleep(POLL_SECONDS)
    forget_wishes(run_dir)
