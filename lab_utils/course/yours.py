"""yours(): a Kimi made of what the reader has solved so far, and of the core for the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lab_utils.bench.plan import YOURS, Plan
from lab_utils.bench.results import run_folder
from lab_utils.course.assembly import place_of
from lab_utils.course.attempt import SECONDS, allow_seconds
from lab_utils.course.fitting import assemble
from lab_utils.course.logbook import Logbook
from lab_utils.course.progress import COURSE
from lab_utils.course.saved_work import Work, read_work
from lab_utils.show.words import kind_of, plural
from nanokimi import checkpoint
from nanokimi.config import ConfigError, KimiConfig, TrainConfig
from nanokimi.kimi import Kimi
from nanokimi.record import StepRecord
from nanokimi.steering import Steer
from nanokimi.system.checked import fits_signature
from nanokimi.system.printable import one_line
from nanokimi.text.corpus import Corpus

SAVED = "Only what is saved counts: save a notebook, then run this cell again."
# Kimi K2 has no block latents. These two run in a model whose configuration says `attention: block_latent`.
OF_BLOCK_LATENTS = ("compress", "block_visibility")
CLOSE = 2e-5  # of two logits


@fits_signature
def yours(folder: str | Path = "", *, seconds: float = SECONDS) -> Yours:
    """What the reader has solved in the course's notebooks in `folder`, and what is built from it.

    The folder is that of the running notebook where none is named. Every answer is taken from the saved file and judged
    again, for at most `seconds`, a day at the longest. An answer that fails, does not end, or does not fit the others
    is not counted; the summary says why. Bug hunts build nothing and do not count. Nothing of the core is changed.
    """
    if not isinstance(folder, str | Path):
        raise ValueError(
            f'folder must be the name of a folder, as in yours("notebooks"), not {kind_of(folder)}'
        )
    seconds = allow_seconds(seconds)
    files = {c.file: [e for e in c.exercises() if not e.is_hunt] for c in COURSE}
    return Yours(read_work(Path(folder), files, seconds), sum(map(len, files.values())))


class Yours:
    """The reader's parts. `build_model`, `train` and `generate` are used as those of `nanokimi` are."""

    def __init__(self, work: Work, total: int):
        self.total = total
        self._work = work
        self._assembly, misfits = assemble(work.solved)
        self.refused = work.refused | misfits
        solved = {name: answer for name, answer in work.solved.items() if name not in misfits}
        self.parts = tuple(solved)  # the names of the exercises that count
        self.read = tuple(name for name in self.parts if name in Logbook.open().revealed)
        self.unused = tuple(name for name, answer in solved.items() if not place_of(answer.exercise))

    def __repr__(self) -> str:
        lines = [f"your parts: {len(self.parts)} of {self.total}, in the notebooks as they are saved"]
        if not self._work.read:
            lines = ['No notebook of the course is in this folder; name theirs: yours("notebooks").']
        used = [name for name in self.parts if name not in (*self.unused, *OF_BLOCK_LATENTS)]
        blocks = [name for name in self.parts if name in OF_BLOCK_LATENTS]
        for names, what in (
            (used, "in your Kimi, its training and its decoding"),
            (blocks, "in a Kimi with block latents only"),
            (self.unused, "solved, but no part of a model"),
            (self.read, "of all these, written after reveal() had shown the answer"),
        ):
            lines += [f"{what}: {', '.join(names)}"] if names else []
        lines += [f"not counted: {name}: {why}" for name, why in self.refused.items()]
        lines += [f"not read: {file}: {why}" for file, why in self._work.unread.items()]
        return "\n".join(map(_wrap, [*lines, SAVED]))

    def build_model(self, cfg: KimiConfig, seed: int = 0) -> Kimi:
        """A Kimi of the reader's parts, with the first weights that the core's has with this seed."""
        return self.like(Kimi(cfg, seed))

    def like(self, model: Kimi) -> Kimi:
        """A Kimi of the reader's parts with a copy of the weights of `model`. For `isinstance` it is a core's Kimi."""
        _must_be_a_kimi(model)
        made = self._assembly.module("nanokimi.kimi").Kimi(model.cfg)
        made.load_state_dict(model.state_dict())
        return made.train(model.training)

    def train(
        self,
        model: Kimi,
        corpus: Corpus,
        cfg: TrainConfig,
        run_dir: Path | None = None,
        steer: Steer | None = None,
    ) -> Iterator[StepRecord]:
        """The records of a training as `nanokimi.train` gives them, with the reader's losses, optimizers and rates.

        Its checkpoints hold no momenta, so that such a run cannot be resumed.
        """
        # The graph is made of the core's losses, and a reader's code need not be one graph.
        plain = replace(cfg, compile="off")
        return self._assembly.module("nanokimi.train").train(model, corpus, plain, run_dir, steer=steer)

    def generate(
        self, model: Kimi, prompt: Sequence[int], max_new_tokens: int, **settings: Any
    ) -> Iterator[int]:
        """The tokens that continue `prompt`, written by the reader's `generate`; `settings` are those of the core's."""
        write = self._assembly.module("nanokimi.generate").generate
        return iter(write(model, prompt, max_new_tokens, **settings))

    def compare(self, model: Kimi, tokens: Tensor) -> str:
        """What is counted, and whether the reader's Kimi with the weights of `model` gives its logits for `tokens`."""
        _must_be_a_kimi(model)
        if not self.parts:
            does = "From what you have solved this cell builds a Kimi of your own, with the lab's code for the rest,"
            return f"{self}\n" + _wrap(f"{does} and compares its logits with the lab's.")
        try:
            with torch.no_grad():
                difference = (self.like(model)(tokens).logits - model(tokens).logits).abs().max().item()
        except Exception as error:  # the reader's code, at sizes that no check has
            return f"{self}\nYour Kimi raises {type(error).__name__} here: {one_line(error, 300)}"
        return f"{self}\nYour Kimi and the lab's with the same weights: logits agree to {CLOSE:g}: {difference < CLOSE}"


def _must_be_a_kimi(model: Any) -> None:
    if not isinstance(model, Kimi):
        raise ValueError(f"model must be a Kimi, as Kimi(cfg) makes it, not {kind_of(model)}")


def _wrap(line: str) -> str:
    return textwrap.fill(line, 110, subsequent_indent="    ")


@fits_signature
def with_yours(plan: Plan) -> Plan:
    """The same plan, in which the arm "yours", where it has one, is built and trained by the reader's parts.

    Raises `ConfigError` where nothing is solved: the arm would be the core's Kimi under another name.
    """
    if not isinstance(plan, Plan):
        raise ValueError(f"plan must be a Plan, as make_plan(profile) gives it, not {kind_of(plan)}")
    if YOURS not in [arm.name for arm in plan.arms]:
        return plan
    mine = yours()
    if not mine.parts:
        raise ConfigError(
            f"arms: yours needs a solved exercise, and your parts are 0 of {mine.total}. {SAVED}"
        )
    print(f"yours: {plural(len(mine.parts), 'part')} of {mine.total}")
    return plan.with_maker(YOURS, mine)


@fits_signature
def continue_with_yours(out: Path, beginning: str, n_tokens: int, **settings: Any) -> str:
    """What the reader's Kimi writes after `beginning`, with the weights that notebook 08 trained in `out`, as a line.

    A line that says what is missing where it was not trained there.
    """
    folder = run_folder(out, YOURS, 0)
    if not checkpoint.has_checkpoint(folder):
        return f'A Kimi of your own parts writes here once notebook 08 has trained it: arms = "gpt,kimi,{YOURS}".'
    found = checkpoint.load_checkpoint(folder)
    if not isinstance(found.model, Kimi):
        return "Your Kimi cannot be asked: what lies in its folder is no Kimi. Train it once more in notebook 08."
    mine, encoding = yours(), found.tokenizer
    try:
        model, prompt = mine.like(found.model.eval()), encoding.encode_ordinary(beginning)
        new = list(mine.generate(model, prompt, n_tokens, stop_id=encoding.eot_token, **settings))
    except Exception as error:  # the reader's code, at sizes that no check has
        return f"Your Kimi raises {type(error).__name__} here: {one_line(error, 300)}"
    return f"[{YOURS}, {len(mine.parts)} of {mine.total} parts] {beginning} | {encoding.decode(new)}"
