"""Which models a benchmark trains, on which text and with how many seeds: a `Plan` made from a preset.

An arm is a model and its training. All arms of a plan share text, batches and schedule. How they differ is written in
nanokimi/presets/bench-<profile>.yaml, one line per arm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import model_validator

import nanokimi
from lab_utils.machine.profile import profiles
from nanokimi.config import ConfigError, DataConfig, ModelConfig, TrainConfig
from nanokimi.presets.yaml_config import build, load_model_config, read_yaml
from nanokimi.system.checked import checked, settings
from nanokimi.system.printable import quote
from nanokimi.system.refusals import nearest
from nanokimi.system.whole_numbers import Size
from nanokimi.text.corpus import Corpus

# Every rung of the ladder changes one thing of the rung before it. GPT with Muon is no rung; it is compared with GPT.
LADDER = ("gpt", "kimi-dense", "kimi-mla", "kimi-moe", "kimi-bias", "kimi")
BASELINE, CHALLENGER = "gpt", "kimi"
# A learner's own Kimi in notebook 08: the challenger's sizes and settings, built and trained by the learner's code.
YOURS = "yours"


@settings
class ArmPreset:
    """One line of the preset: a model preset, and the training settings that this arm changes (`name=value`)."""

    model: str
    set: tuple[str, ...] = ()


@settings
class BenchPreset:
    """The content of presets/bench-<profile>.yaml. `default` names the arms that run when the user names none."""

    data: DataConfig
    train: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    default: tuple[str, ...]
    arms: dict[str, ArmPreset]

    @model_validator(mode="after")
    def _check(self):
        for name in self.default:
            if name not in self.arms:
                raise ValueError(
                    f"default names {quote(name)}, which is no arm; {nearest(name, list(self.arms))}"
                )
        return self


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One model and how it is trained. `maker.build_model` builds it, and `maker.train` trains it: the core's.

    ranks: how many processes train it together. Where there are several, their maker starts them.
    """

    name: str
    model: ModelConfig
    train: TrainConfig
    ranks: int = 1
    maker: Any = field(default=nanokimi, repr=False)

    def with_vocabulary_of(self, corpus: Corpus) -> Arm:
        """The same arm, its model with the vocabulary size of the corpus's tokenizer."""
        return replace(self, model=replace(self.model, vocab_size=corpus.tokenizer.n_vocab))

    def with_seed(self, seed: int) -> Arm:
        """The same arm with `seed` for the order of its batches (and for its first weights)."""
        return replace(self, train=replace(self.train, seed=seed))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a benchmark trains: every arm with every seed, on one text."""

    profile: str
    data: DataConfig
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    def with_vocabulary_of(self, corpus: Corpus) -> Plan:
        """The same plan, every model with the vocabulary size of the corpus's tokenizer."""
        return replace(self, arms=tuple(arm.with_vocabulary_of(corpus) for arm in self.arms))

    def with_maker(self, name: str, maker: Any) -> Plan:
        """The same plan, in which `maker` builds and trains the arm of this name."""
        return replace(self, arms=tuple(replace(a, maker=maker) if a.name == name else a for a in self.arms))

    def trials(self) -> Iterator[Arm]:
        """Every training in its order. Seeds are the outer loop, so that a slow hour of the machine slows all arms."""
        for seed in self.seeds:
            for arm in self.arms:
                yield arm.with_seed(seed)

    def arm(self, name: str) -> Arm:
        """The arm of this name, with the seed of its preset; `ConfigError` where the plan has none."""
        found = {arm.name: arm for arm in self.arms}
        if name not in found:
            raise ConfigError(f"{quote(name)} is no arm of this plan; {nearest(str(name), list(found))}")
        return found[name]


@checked
def make_plan(profile: str, arms: str = "default", seeds: Size = 1, data: str = "") -> Plan:
    """The plan for one of `profiles()`. `arms` is default, ladder (all arms), or names separated by commas.

    The name `yours` stands for a second Kimi, for which the caller gives a maker (`Plan.with_maker`).
    `data`, if given, replaces the preset's text: storyworld, almanac, tinystories or a path. Raises `ConfigError` with
    one line that says what is wrong and what is allowed.
    """
    if profile not in profiles():
        raise ConfigError(f"profile={quote(profile)} does not exist; {nearest(profile, profiles())}")
    where = f"bench-{profile}"
    preset = build(BenchPreset, read_yaml(where), where=where)
    train_data = read_yaml(preset.train) | {"device": preset.device}
    chosen = []
    for name in _arm_names(preset, arms):
        line = preset.arms[CHALLENGER if name == YOURS else name]
        chosen.append(
            Arm(
                name=name,
                model=load_model_config(line.model),
                train=build(TrainConfig, train_data, line.set, f"{where}, arm {name}"),
            )
        )
    return Plan(
        profile=profile,
        data=replace(preset.data, source=data) if data else preset.data,
        arms=tuple(chosen),
        seeds=tuple(range(seeds)),
    )


def _arm_names(preset: BenchPreset, arms: str) -> Sequence[str]:
    if arms == "default":
        return preset.default
    if arms == "ladder":
        return tuple(preset.arms)
    names = [name.strip() for name in arms.split(",")]
    for name in names:
        if name not in (*preset.arms, YOURS):
            known = ["default", "ladder", *preset.arms, YOURS]
            raise ConfigError(f"arms: {quote(name)} is not an arm; {nearest(name, known)}")
        if names.count(name) > 1:
            raise ConfigError(f"arms: {quote(name)} is named twice; name every arm once")
    return names
