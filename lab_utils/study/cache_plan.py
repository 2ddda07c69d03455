"""What the study of the cache measures: untrained models that decode, and trained ones whose caches are equally large.

A preset is nanokimi/presets/study-cache-<profile>.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import model_validator

from lab_utils.study.arms import ArmCell, make_cells
from lab_utils.study.plan import StudyArm, check_several, find_preset
from nanokimi.config import DataConfig, KimiConfig, TrainConfig
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
            check_several(name, getattr(self, name))
        return self


@settings
class CachePreset:
    """The content of presets/study-cache-<profile>.yaml.

    rates, arms: every arm is trained at each rate with the first seed, at its best one with the others.
    challenger: the arm that is compared with those whose cache is as large; the others are there to be looked at.
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
            check_several(name, getattr(self, name))
        known = nearest(self.challenger, list(self.arms))
        require(self.challenger in self.arms, f"challenger={quote(self.challenger)} is no arm; {known}")
        return self


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """The study of this profile: the models that decode, and all trainings."""

    name: str
    profile: str
    preset: CachePreset
    seeds: tuple[int, ...]
    models: dict[str, KimiConfig]
    cells: tuple[ArmCell, ...]


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
    every = dict.fromkeys(preset.arms, preset.rates)
    return CachePlan(
        name=CACHE,
        profile=profile,
        preset=preset,
        seeds=tuple(range(seeds)),
        models=models,
        cells=make_cells(where, preset.train, preset.arms, every, range(seeds)),
    )


def _load_kimi(name: str, changes: tuple[str, ...], where: str) -> KimiConfig:
    cfg = load_model_config(name, changes)
    require(
        isinstance(cfg, KimiConfig), f"{where}: model {quote(name)} is no Kimi, whose attention can be chosen"
    )
    return cfg
