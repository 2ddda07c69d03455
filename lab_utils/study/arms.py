"""The arms of a study, on one text: every arm at each of its rates with every seed, as trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab_utils.bench.plan import Arm
from lab_utils.study.plan import StudyArm
from nanokimi.config import TrainConfig, to_dict
from nanokimi.presets.yaml_config import build, load_model_config


@dataclass(frozen=True, kw_only=True)
class ArmCell:
    """One training: which arm of the preset, and at which rate and with which seed."""

    arm: str
    trained: Arm

    @property
    def lr(self) -> float:
        return self.trained.train.optim.lr


def make_cells(
    where: str,
    train: TrainConfig,
    arms: Mapping[str, StudyArm],
    rates: Mapping[str, Sequence[float]],
    seeds: Sequence[int],
) -> tuple[ArmCell, ...]:
    """All trainings: of each seed first every arm at its first rate, then at its second one, and so on.

    rates: those of every arm. `ConfigError` in one line, which begins with `where`.
    """
    most = max(map(len, rates.values()))
    places = [(arm, rates[arm][i]) for i in range(most) for arm in arms if i < len(rates[arm])]
    return tuple(
        _make_cell(where, train, arm, arms[arm], rate, seed) for seed in seeds for arm, rate in places
    )


def _make_cell(where: str, train: TrainConfig, arm: str, line: StudyArm, rate: float, seed: int) -> ArmCell:
    changed = build(TrainConfig, to_dict(train), line.set, f"{where}, arm {arm}")
    trained = Arm(
        name=f"{arm}-lr{rate:g}",
        model=load_model_config(line.model, line.model_set),
        train=replace(changed, seed=seed, optim=replace(changed.optim, lr=rate)),
    )
    return ArmCell(arm=arm, trained=trained)
