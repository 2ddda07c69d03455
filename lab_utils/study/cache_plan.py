"""What the study of the cache measures: untrained models that decode, and trained ones whose caches are equally large.

A preset is nanokimi/presets/study-cache-<profile>.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from pydantic import model_validator

from lab_utils.bench.plan import Arm
from lab_utils.study.plan import StudyArm, find_preset
from nanokimi.config import DataConfig, KimiConfig, TrainConfig, to_dict
from nanokimi.presets.yaml_config import build, load_model_config, read_yaml
from nanokimi.system.checked import checked, settings
from nanokimi.system.printable import quote
from nanokimi.system.real_numbers import Positive
from nanokimi.system.refusals import nearest, require
from nanokimi.system.whole_numbers import Size

CACHE = "cache"


@settings
class DecodedModel:
    """One line of `models`: a model preset, and what is changed of it."""

    model: str
    model_set: tuple[str, ...] = ()


@settings
class DecodingPreset:
    """How decoding is measured: every model at every context with every batch.

    contexts: so many tokens are in the cache when the clock starts. batches: so many texts go on at once.
    rounds, tokens: the models take turns; in its turn each of them writes `tokens` tokens per text.
    """

    contexts: tuple[Size, ...]
    batches: tuple[Size, ...]
    rounds: Size
    tokens: Size
    models: dict[str, DecodedModel]

    @model_validator(mode="after")
    def _check(self):
        for name in ("contexts", "batches", "models"):
            _check_several(name, getattr(self, name))
        return self


@settings
class CachePreset:
    """The content of presets/study-cache-<profile>.yaml.

    rates, arms: every arm is trained at each rate. challenger: the arm that is compared with those whose cache is as
    large; the others are there to be looked at.
    """

    data: DataConfig
    train: TrainConfig
    decoding: DecodingPreset
    rates: tuple[Positive, ...]
    challenger: str
    arms: dict[str, StudyArm]

    @model_validator(mode="after")
    def _check(self):
        for name in ("rates", "arms"):
            _check_several(name, getattr(self, name))
        known = nearest(self.challenger, list(self.arms))
        require(self.challenger in self.arms, f"challenger={quote(self.challenger)} is no arm; {known}")
        return self


def _check_several(name: str, values) -> None:
    require(len(values) > 0, f"{name} is empty: name one or more")
    require(len(set(values)) == len(values), f"{name}={quote(values)} has a value twice")


@dataclass(frozen=True, kw_only=True)
class CacheCell:
    """One training: which arm of the preset, and at which rate and with which seed."""

    arm: str
    trained: Arm


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """The study of this profile: the models that decode, and all trainings."""

    name: str
    profile: str
    preset: CachePreset
    seeds: tuple[int, ...]
    models: dict[str, KimiConfig]
    cells: tuple[CacheCell, ...]


@checked
def make_cache_plan(profile: str = "cpu", seeds: Size = 1) -> CachePlan:
    """The plan of the study. Raises `ConfigError` with one line that says what is wrong and what is allowed."""
    where = find_preset(CACHE, profile)
    preset = build(CachePreset, read_yaml(where), where=where)
    decoding = preset.decoding
    # One round more than is counted.
    longest = max(decoding.contexts) + (decoding.rounds + 1) * decoding.tokens
    models = {
        name: replace(_load_kimi(line.model, line.model_set, where), max_seq_len=longest)
        for name, line in decoding.models.items()
    }
    axes = product(range(seeds), preset.rates, preset.arms)
    return CachePlan(
        name=CACHE,
        profile=profile,
        preset=preset,
        seeds=tuple(range(seeds)),
        models=models,
        cells=tuple(_make_cell(preset, where, *place) for place in axes),
    )


def _make_cell(preset: CachePreset, where: str, seed: int, rate: float, arm: str) -> CacheCell:
    line = preset.arms[arm]
    train = build(TrainConfig, to_dict(preset.train), line.set, f"{where}, arm {arm}")
    trained = Arm(
        name=f"{arm}-lr{rate:g}",
        model=_load_kimi(line.model, line.model_set, where),
        train=replace(train, seed=seed, optim=replace(train.optim, lr=rate)),
    )
    return CacheCell(arm=arm, trained=trained)


def _load_kimi(name: str, changes: tuple[str, ...], where: str) -> KimiConfig:
    cfg = load_model_config(name, changes)
    require(
        isinstance(cfg, KimiConfig), f"{where}: model {quote(name)} is no Kimi, whose attention can be chosen"
    )
    return cfg
