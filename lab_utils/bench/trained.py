"""A trained model for a notebook: from notebook 08's run where that fits, else trained now for fewer steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab_utils.bench.plan import Arm
from lab_utils.bench.results import run_folder
from lab_utils.show.note import write_step
from lab_utils.show.words import plural
from nanokimi import checkpoint
from nanokimi.model import Model, build_model
from nanokimi.text.corpus import Corpus
from nanokimi.train import train


def load_or_train(arm: Arm, corpus: Corpus, out: Path, steps: int, say: Callable[[str], None]) -> Model:
    """The arm's model from the run in `out` if it has the same sizes and text; else trained here for `steps` steps.

    `say` is called with one line that says where the model comes from or how far its training is.
    """
    folder = run_folder(out, arm.name, arm.train.seed)
    if checkpoint.has_checkpoint(folder):
        found = checkpoint.load_checkpoint(folder)
        if found.model.cfg == arm.model and found.state.corpus_fingerprint == corpus.fingerprint:
            say(f"{arm.name}: from the run of notebook 08, {plural(found.state.step, 'step')}")
            return found.model.eval()
    steps = min(steps, arm.train.steps)
    cfg = replace(
        arm.train, steps=steps, eval_every=steps, warmup_steps=min(arm.train.warmup_steps, steps - 1)
    )
    model = build_model(arm.model, cfg.seed)
    for record in train(model, corpus, cfg):
        say(f"{arm.name}: {write_step(record)}")
    return model.eval()
