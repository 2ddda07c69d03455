"""How long a training step takes, measured in turn: A B C A B C ..., so that a slow minute slows all arms equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from lab_utils.bench.plan import Arm
from lab_utils.show.note import write_time_left
from nanokimi.step import TrainingDiverged
from nanokimi.text.corpus import Corpus
from nanokimi.torchrun import ask_first

WARM_UP = 2  # rounds that are not counted: the first steps allocate memory


def time_in_turns(
    arms: Sequence[Arm],
    corpus: Corpus,
    rounds: int = 40,
    seconds_per_arm: float = 18.0,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, tuple[float, ...]]:
    """Seconds of one optimizer step: for every arm, one number per round.

    Uses new models and the first batches of the text. Ends after `rounds`, or sooner when the time is used up, but
    not before three rounds. An arm that diverges begins anew, for its steps take as long; one whose very first step
    does gets no time. Under torchrun every rank calls this. `say` hears after each round how far it is.
    """
    rounds = min(rounds, min(arm.train.steps for arm in arms) - WARM_UP - 1)
    turns = {arm.name: _stepper(arm, corpus) for arm in arms}
    say(f"timing {len(turns)} models in turn: the first {WARM_UP} steps of each are not counted")
    for step in turns.values():
        for _ in range(WARM_UP):
            step()
    seconds: dict[str, list[float | None]] = {name: [] for name in turns}
    started, most_seconds = time.perf_counter(), seconds_per_arm * len(turns)
    for done in range(rounds):
        # Ranks must take the same steps, and their clocks differ.
        seconds_gone = ask_first(lambda: time.perf_counter() - started)
        if done >= 3 and seconds_gone > most_seconds:
            break
        if done:
            left = min(seconds_gone / done * (rounds - done), most_seconds - seconds_gone)
            say(f"{done} of at most {rounds} rounds timed{write_time_left(left)}")
        for name, step in turns.items():
            seconds[name].append(step())
    say(f"{len(seconds[arms[0].name])} rounds timed, each a step of {', '.join(turns)}")
    return {name: () if None in values else tuple(values) for name, values in seconds.items()}


def _stepper(arm: Arm, corpus: Corpus) -> Callable[[], float | None]:
    """A function that trains `arm` for one more step and returns its seconds; None where the first step diverges."""
    # The only evaluation is at the last step, which is never reached.
    cfg = replace(arm.train, eval_every=arm.train.steps)
    begin = lambda: arm.maker.train(arm.maker.build_model(arm.model, cfg.seed), corpus, cfg)
    steps = begin()

    def step() -> float | None:
        nonlocal steps
        for _ in range(2):
            wait_for_device()
            started = time.perf_counter()
            try:
                record = next(steps)
            except TrainingDiverged:
                steps = begin()
                continue
            wait_for_device()
            return time.perf_counter() - started - record.compile_seconds
        return None

    return step


def wait_for_device() -> None:
    """Return when the GPU, where there is one, has done all that it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
