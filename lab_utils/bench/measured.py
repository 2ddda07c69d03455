"""What each arm's model can do, measured after its training from the last checkpoint of the first seed.

It is kept with the results, arm by arm, so that what a kill or a repeated report finds there is not measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab_utils.bench.results import Results, Run, read_steps, run_folder
from lab_utils.bench.watch import LINE_EVERY_SECONDS
from nanokimi import checkpoint
from nanokimi.abilities.report import Abilities, OnProgress, measure_abilities
from nanokimi.cli.memory import is_shortage
from nanokimi.config import DataConfig
from nanokimi.device import choose_device
from nanokimi.system.memory import keep_freed_memory
from nanokimi.system.printable import one_line, quote
from nanokimi.system.refusals import require
from nanokimi.text.corpus import Corpus, load_corpus

MADE_HERE = ("storyworld", "almanac")
# What corpus_facts keeps of a DataConfig, and a text that is made on this machine is made from.
SETTINGS = ("source", "tokenizer", "vocab_size", "n_characters", "n_stories", "n_exposures", "seed")


@dataclass(frozen=True)
class Measuring:
    """A call measures what the model of a finished training can do: a job that another machine may run.

    data: the text of the training. out: the folder of the benchmark. device: on which the model computes.
    """

    data: DataConfig
    run: Run
    out: Path
    device: str

    def __call__(self) -> Abilities:
        keep_freed_memory()
        return measure(self, load_corpus(self.data))


def measure(asked: Measuring, corpus: Corpus, on_progress: OnProgress = lambda *_: None) -> Abilities:
    """What the trained model can do, with the settings of `nanokimi evaluate`.

    `ConfigError` where its folder holds another training, or `corpus` is another text; and what `load_checkpoint` and
    `measure_abilities` raise.
    """
    run_dir, last = run_folder(asked.out, asked.run.arm, asked.run.seed), asked.run.final
    found = checkpoint.load_checkpoint(run_dir, choose_device(asked.device))
    logged = [step["evaluation"] for step in read_steps(run_dir) if step.get("evaluation")]
    same = found.state.step == last.step and bool(logged) and logged[-1]["loss"] == last.loss
    require(same, f"folder {quote(str(run_dir))} holds another training than the results")
    other = f"{quote(corpus.name)} with these settings is not the text of the training"
    require(corpus.fingerprint == found.state.corpus_fingerprint, other)
    return measure_abilities(found.model.eval(), corpus, asked.data, found.train, on_progress=on_progress)


def list_measurable(results: Results, data: DataConfig, out: Path) -> dict[str, Measuring]:
    """The arms whose abilities the results lack, and whose first seed was trained to its end in the folder `out`."""
    return {
        run.arm: Measuring(data, run, out, str(results.arms[run.arm].train.get("device", "auto")))
        for run in _list_lacking(results, out)
    }


def _list_lacking(results: Results, out: Path) -> list[Run]:
    runs = [results.run(name, results.seeds[0]) for name in results.arms if name not in results.abilities]
    return [run for run in runs if run and checkpoint.has_checkpoint(run_folder(out, run.arm, run.seed))]


def add(results: Results, found: Mapping[str, Abilities | str]) -> Results:
    """The results with what was found of some arms: their abilities, or why they could not be measured."""
    measured = {name: each for name, each in found.items() if isinstance(each, Abilities)}
    failed = {name: each for name, each in found.items() if isinstance(each, str)}
    left = {name: each for name, each in (results.unmeasured | failed).items() if name not in measured}
    return replace(results, abilities=results.abilities | measured, unmeasured=left)


def explain_rest(results: Results) -> Results:
    """The results with a reason for each arm whose training has left nothing to measure."""
    seed, why = results.seeds[0], {}
    for name in results.arms:
        if name in results.abilities or name in results.unmeasured:
            continue
        at = results.diverged_at(name, seed)
        if at is not None:
            why[name] = f"its training with seed {seed} diverged at step {at}"
        elif results.run(name, seed) is None:
            why[name] = f"its training with seed {seed} did not finish"
        else:
            why[name] = f"the checkpoint of seed {seed} is not there"
    return add(results, why)


def measure_rest(
    results: Results,
    data: DataConfig,
    corpus: Corpus,
    out: Path,
    keep: Callable[[Results], object],
    tell: Callable[[str], object],
) -> Results:
    """The results with the abilities of all arms, of which only those are measured now that lack them.

    keep: gets the results after each arm. tell: gets a line per arm, and one about every ten seconds.
    """
    for name, asked in list_measurable(results, data, out).items():
        tell(f"what {name} can do")
        found: Abilities | str
        try:
            found = measure(asked, corpus, _Teller(name, tell))
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ValueError | OSError) and not is_shortage(error):
                raise
            found = one_line(error, 200)
            tell(f"what {name} can do is not measured: {found}")
        results = add(results, {name: found})
        keep(results)
    return explain_rest(results)


def measure_from_folder(
    results: Results, out: Path, keep: Callable[[Results], object], tell: Callable[[str], object]
) -> Results:
    """As `measure_rest`, where only the folder of the benchmark is known. The text must be one that is made here.

    Where the folder has no checkpoint to measure, the results stay as they are.
    """
    lacking = [run.arm for run in _list_lacking(results, out)]
    if not lacking:
        return results
    try:
        saved: dict[str, Any] = {**results.corpus}
        source = saved["source"]
        require(source in MADE_HERE, f"its text, {quote(source)}, is not made on this machine")
        data = DataConfig(**{name: saved[name] for name in SETTINGS if name in saved})
        tell(f"text: {source}")
        corpus = load_corpus(data)
    except ValueError as error:
        return explain_rest(add(results, dict.fromkeys(lacking, one_line(error, 200))))
    return measure_rest(results, data, corpus, out, keep, tell)


class _Teller:
    """Told how far a measurement is, it tells a line about every ten seconds."""

    def __init__(self, name: str, tell: Callable[[str], object]):
        self._name, self._tell, self._told = name, tell, time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if time.monotonic() - self._told >= LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self._tell(f"what {self._name} can do: {stage}, {done / max(1, total):.0%}")
