"""One long training with evaluations and checkpoints: its memory must not grow.

A try is a step. The last try is lost if the process uses more than 2 % more memory at the end than after step 300.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from lab_utils.machine.memory import MB, memory_in_use
from nanokimi.config import DataConfig
from nanokimi.model import build_model
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.text.corpus import load_corpus
from nanokimi.train import train

NAME = "steps of one training"
RELEASE = 1500
SAMPLE = 30
WARM_UP, GROWTH = 300, 0.02


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Train kimi-smoke for `tries` steps; it is evaluated and saved every 50 steps."""
    data = DataConfig(n_stories=2000, tokenizer="char", cache_dir=str(folder / "cache"))
    smoke = load_train_config("train-smoke")
    cfg = replace(smoke, steps=tries, warmup_steps=min(20, tries - 1), eval_every=50, seed=seed, device="cpu")
    corpus = load_corpus(data, seq_len=cfg.seq_len)
    model = build_model(
        replace(load_model_config("kimi-smoke"), vocab_size=corpus.tokenizer.n_vocab), cfg.seed
    )
    lost, taken, in_use = [], 0, None
    for record in train(model, corpus, cfg, folder / "run"):
        taken = record.step
        if taken == WARM_UP:
            gc.collect()
            in_use = memory_in_use()
        on_progress(taken)
    gc.collect()
    if taken < tries:
        lost = [f"step {step} was never taken, seed {seed}" for step in range(taken + 1, tries + 1)]
    elif in_use is not None and (grown := memory_in_use() - in_use) > GROWTH * in_use:
        lost.append(f"memory grew by {grown / MB:.0f} MB from {in_use / MB:.0f} MB, seed {seed}")
    return Outcome(tries, tries - len(lost), lost)
