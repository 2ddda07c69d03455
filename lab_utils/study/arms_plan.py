"""What a study of arms trains: each arm at its rates, on one text, and which question the trainings answer.

A preset is nanokimi/presets/study-<name>-<profile>.yaml, for the names muon, clip, balance and sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import model_validator

from lab_utils.study.arms import ArmCell, make_cells
from lab_utils.study.plan import StudyArm, check_several, find_preset
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.presets.yaml_config import build, read_yaml
from nanokimi.system.checked import checked, settings
from nanokimi.system.real_numbers import Positive
from nanokimi.system.whole_numbers import Size

Question = Literal["tokens", "logits", "balance", "sparsity"]


@settings
class RatedArm(StudyArm):
    """An arm that may have rates of its own."""

    rates: tuple[Positive, ...] = ()


@settings
class ArmsPreset:
    """The content of such a preset.

    question: what is asked of the trainings. tokens: how many tokens every arm needs for the loss of the first one
        that is trained as long. logits: how large attention's logits become. balance: how evenly the experts are
        used, and what that costs. sparsity: the loss over the number of experts.
    rates: of all arms that name none of their own. An arm is trained at each of its rates with the first seed, and at
        the best of them with the others.
    """

    question: Question
    data: DataConfig
    train: TrainConfig
    rates: tuple[Positive, ...]
    arms: dict[str, RatedArm]

    @model_validator(mode="after")
    def _check(self):
        for name in ("rates", "arms"):
            check_several(name, getattr(self, name))
        for arm in self.arms:
            check_several(f"arms.{arm}.rates", self.rates_of(arm))
        return self

    def rates_of(self, arm: str) -> tuple[float, ...]:
        """At which rates this arm is trained."""
        return self.arms[arm].rates or self.rates


@dataclass(frozen=True, kw_only=True)
class ArmsPlan:
    """The study of this name and profile: all its trainings. data: the text that replaces the preset's, if any."""

    name: str
    profile: str
    data: str
    preset: ArmsPreset
    seeds: tuple[int, ...]
    cells: tuple[ArmCell, ...]


@checked
def make_arms_plan(name: str, profile: str = "cpu", seeds: Size = 1, data: str = "") -> ArmsPlan:
    """The plan of the study; `data`, if given, replaces the preset's text: storyworld, tinystories or a path.

    Raises `ConfigError` in one line that says what is wrong and what is allowed.
    """
    where = find_preset(name, profile)
    preset = build(ArmsPreset, read_yaml(where), where=where)
    if data:
        preset = replace(preset, data=replace(preset.data, source=data))
    rates = {arm: preset.rates_of(arm) for arm in preset.arms}
    return ArmsPlan(
        name=name,
        profile=profile,
        data=data,
        preset=preset,
        seeds=tuple(range(seeds)),
        cells=make_cells(where, preset.train, preset.arms, rates, range(seeds)),
    )
