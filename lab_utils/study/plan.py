"""What a study trains: every arm on every text at every rate, made from a preset.

A preset is nanokimi/presets/study-<name>-<profile>.yaml: the text, the training, the axes of the study, and one line
per arm. A training is one pass over its text, so that `exposures` is how often it has told each fact.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product

from pydantic import model_validator

from lab_utils.bench.plan import Arm
from nanokimi.config import ConfigError, DataConfig, TrainConfig, to_dict
from nanokimi.presets.yaml_config import build, load_model_config, preset_names, read_yaml
from nanokimi.system.checked import checked, settings
from nanokimi.system.printable import quote
from nanokimi.system.real_numbers import Positive
from nanokimi.system.refusals import nearest, require
from nanokimi.system.whole_numbers import Size
from nanokimi.text.corpus import Corpus

PREFIX = "study-"
# Of the loss while training; each leaves a checkpoint, from which a killed training goes on.
N_MEASUREMENTS = 8


@settings
class StudyArm:
    """One line of the preset: a model preset, and what this arm changes of the model and of the training."""

    model: str
    model_set: tuple[str, ...] = ()
    set: tuple[str, ...] = ()


@settings
class StudyPreset:
    """The content of presets/study-<name>-<profile>.yaml.

    characters, exposures, rates: the axes; every arm is trained at each of their combinations.
    train: its steps and eval_every are not read: they follow from the size of the text.
    """

    data: DataConfig
    train: TrainConfig
    characters: tuple[Size, ...]
    exposures: tuple[Size, ...]
    rates: tuple[Positive, ...]
    arms: dict[str, StudyArm]

    @model_validator(mode="after")
    def _check(self):
        require(self.data.source == "almanac", f"data.source={quote(self.data.source)} must be almanac")
        for name in ("characters", "exposures", "rates", "arms"):
            check_several(name, getattr(self, name))
        return self


def check_several(name: str, values: Collection) -> None:
    """Raise `ConfigError` where these values of the setting `name` are none, or one of them stands there twice."""
    require(len(values) > 0, f"{name} is empty: name one or more")
    require(len(set(values)) == len(values), f"{name}={quote(values)} has a value twice")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training: which arm of the preset, on which text. `trained` has the model, the rate and the seed."""

    arm: str
    data: DataConfig
    trained: Arm

    @property
    def place(self) -> tuple[int, int, str]:
        """Characters, exposures and arm: what the trainings with other rates and seeds have in common."""
        return self.data.n_characters, self.data.n_exposures, self.arm

    @property
    def lr(self) -> float:
        return self.trained.train.optim.lr

    def on(self, corpus: Corpus) -> Arm:
        """What is trained on this text: one pass over it, with the vocabulary of its tokenizer."""
        train = self.trained.train
        steps = max(1, (len(corpus.train) - 1) // (train.batch_size * train.seq_len * train.grad_accum))
        train = replace(
            train,
            steps=steps,
            eval_every=math.ceil(steps / N_MEASUREMENTS),
            warmup_steps=min(train.warmup_steps, steps - 1),
        )
        return replace(self.trained, train=train).with_vocabulary_of(corpus)


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study of this name and profile: all its trainings."""

    name: str
    profile: str
    preset: StudyPreset
    cells: tuple[Cell, ...]

    def texts(self) -> Iterator[DataConfig]:
        """Every text of the study, once."""
        seen: list[DataConfig] = []
        for cell in self.cells:
            if cell.data not in seen:
                seen.append(cell.data)
                yield cell.data


def study_names() -> list[str]:
    """The names that have a preset: facts, cache, muon ..., in the order of the alphabet."""
    return sorted({name.removeprefix(PREFIX).rpartition("-")[0] for name in preset_names(PREFIX)})


def profiles_of(name: str) -> list[str]:
    """The profiles of a study: for facts cpu, map, smoke."""
    start = f"{PREFIX}{name}-"
    return [each.removeprefix(start) for each in preset_names(start)]


def find_preset(name: str, profile: str) -> str:
    """The name of a study's preset. Raises `ConfigError` with one line that says what is wrong and what is allowed."""
    require(name in study_names(), f"study {quote(name)} does not exist; {nearest(name, study_names())}")
    profiles = profiles_of(name)
    require(profile in profiles, f"profile={quote(profile)} does not exist; {nearest(profile, profiles)}")
    return f"{PREFIX}{name}-{profile}"


@checked
def make_study(name: str, profile: str = "cpu", seeds: Size = 1) -> StudyPlan:
    """The plan of the study of facts. Raises `ConfigError` in one line that says what is wrong and what is allowed."""
    where = find_preset(name, profile)
    preset = build(StudyPreset, read_yaml(where), where=where)
    axes = product(range(seeds), preset.characters, preset.exposures, preset.rates, preset.arms)
    return StudyPlan(
        name=name,
        profile=profile,
        preset=preset,
        cells=tuple(_make_cell(preset, where, *place) for place in axes),
    )


def _make_cell(
    preset: StudyPreset, where: str, seed: int, characters: int, exposures: int, rate: float, arm: str
) -> Cell:
    line = preset.arms[arm]
    train = build(TrainConfig, to_dict(preset.train), line.set, f"{where}, arm {arm}")
    try:
        data = replace(preset.data, n_characters=characters, n_exposures=exposures)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    trained = Arm(
        name=f"{arm}-{characters}x{exposures}-lr{rate:g}",
        model=load_model_config(line.model, line.model_set),
        train=replace(train, seed=seed, optim=replace(train.optim, lr=rate)),
    )
    return Cell(arm=arm, data=data, trained=trained)
