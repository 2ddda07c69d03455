"""The training panel is opened again and again in one process, as by a cell that is run again.

A try is one panel with a short training; it survived when its closing left no widget more than the first one's did.
The last try is lost if the memory of the process grew by more than 2 % meanwhile, after the first fifty panels.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

from benchmarks.faults.outcome import Outcome
from lab_utils.bench.plan import Arm
from lab_utils.machine.memory import MB, memory_in_use
from nanokimi.config import DataConfig
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.text.corpus import Corpus, load_corpus
from nanokimi.train import train

NAME = "training panels opened one after another"
RELEASE = 200
SAMPLE = 2
WARM_UP, GROWTH = 50, 0.02


class Output:
    """Stands for the output of a cell."""

    def update(self, *_: object, **__: object) -> None:
        """What takes the panel's place is not shown to anybody."""


async def open_panel(corpus: Corpus, arm: Arm) -> None:
    """One run of the cell of notebook 08, with a training of a few steps."""
    from lab_utils.live.panel import TrainingPanel

    model = build_model(arm.model, arm.train.seed)
    with TrainingPanel(corpus) as panel:
        async for _ in panel.track(train(model, corpus, arm.train, steer=panel.steer), arm, model):
            panel.pause()  # draws all that was done
            panel.go_on()


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Open `tries` panels on a small Kimi."""
    # Notebooks import no widgets before they show some.
    from ipywidgets.widgets.widget import _instances

    data = DataConfig(n_stories=200, tokenizer="char", cache_dir=str(folder))
    cfg = replace(
        load_train_config("train-smoke"), steps=4, warmup_steps=1, eval_every=4, seed=seed, device="cpu"
    )
    corpus = load_corpus(data, seq_len=cfg.seq_len)
    arm = Arm(name="kimi", model=load_model_config("kimi-smoke"), train=cfg).with_vocabulary_of(corpus)
    lost, expected, in_use = [], None, None
    with (
        mock.patch.dict(os.environ, NANOKIMI_LIVE="1"),
        mock.patch("lab_utils.live.panel.display", lambda *_, **__: Output()),
    ):
        for number in range(1, tries + 1):
            asyncio.run(open_panel(corpus, arm))
            left = len(_instances)
            expected = left if expected is None else expected
            if left > expected:
                lost.append(f"panel {number}: {left} widgets are left, {expected} after the first one")
            gc.collect()
            if number == WARM_UP:
                in_use = memory_in_use()
            on_progress(number)
    if in_use is not None and not lost and (grown := memory_in_use() - in_use) > GROWTH * in_use:
        lost.append(f"memory grew by {grown / MB:.0f} MB from {in_use / MB:.0f} MB after {WARM_UP} panels")
    return Outcome(tries, tries - len(lost), lost)
