"""A run that goes on to another number of steps: allowed where its finished part would have been the same.

The number of steps decides one thing in a step, the learning rate. A rate that has not begun to fall is the same in a
longer run: during the warm-up, with schedule=wsd before its last part, and always with min_lr_ratio=1.
"""

from pathlib import Path

from nanokimi.config import ConfigError, TrainConfig
from nanokimi.optim import lr_at
from nanokimi.system.printable import quote


def check_steps(run_dir: Path, done: int, theirs: TrainConfig, ours: TrainConfig) -> None:
    """`ConfigError` where a run of `theirs.steps`, after `done` of them, cannot go on to `ours.steps`.

    Bit for bit the run is then the one that had `ours.steps` from its beginning; only its evaluations after the last
    of `theirs.steps`, and the numbers of steps in its log, say that it had not.
    """
    if ours.steps == theirs.steps:
        return
    where = f"cannot resume {quote(str(run_dir))} with steps={ours.steps}"
    if ours.steps <= done:
        raise ConfigError(f"{where}: {done} steps are done; name more")
    # Once the rates of two lengths have parted, they stay apart: the last finished step speaks for all.
    last = done - 1
    if done and lr_at(last, theirs) != lr_at(last, ours):
        raise ConfigError(
            f"{where}: step {done} had the rate {lr_at(last, theirs):.3g}, and would have {lr_at(last, ours):.3g} in "
            "such a run. Begin a new run from its weights (--init-from), or train with schedule=wsd, whose rate falls "
            "only at the end"
        )


def describe_steps(theirs: TrainConfig, ours: TrainConfig) -> str:
    """What the new number of steps does to the schedule, as a line."""
    line = f"steps={ours.steps} instead of {theirs.steps}"
    peak, floor = ours.optim.lr, ours.optim.lr * ours.min_lr_ratio
    if peak == floor:
        return f"{line}: the rate stays at {peak:.3g}"
    fall = ours.steps - 1 - ours.warmup_steps
    if ours.schedule == "wsd":
        fall = min(fall, max(1, round(ours.decay_fraction * ours.steps)))
    return f"{line}: the rate falls from {peak:.3g} to {floor:.3g} over the last {fall} steps"
