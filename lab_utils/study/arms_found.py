"""What a study of arms found, and what every question needs of it: arms at their best rate, and verdicts on losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

from pydantic import TypeAdapter

from lab_utils.bench.tables import DASH
from lab_utils.bench.verdicts import Pair, Verdict, conclude
from lab_utils.study.arms_plan import Question
from lab_utils.study.logged import Logged
from lab_utils.study.trainings import Trained, at_best_rate, final_losses


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The experts of every layer that has some: how many there are, and how many run for a token."""

    n: int
    top_k: int


@dataclass(frozen=True, kw_only=True)
class ArmsFound:
    """What the study gave, and by name why a training gave nothing.

    experts: by arm; a dense model is left out. logged: by the name of a training, `name_of`.
    step_seconds: of every arm, the seconds of a training step in each round of a measurement in turns.
    environment: of the process that began the trainings; each run names the machine that trained it.
    """

    question: Question
    experts: dict[str, Experts]
    trained: tuple[Trained, ...]
    logged: dict[str, Logged]
    step_seconds: dict[str, tuple[float, ...]]
    lost: dict[str, str]
    environment: dict[str, Any]

    def log_of(self, each: Trained) -> Logged:
        return self.logged[name_of(each)]

    def best(self) -> dict[str, list[Trained]]:
        """By arm, its finished trainings at its best rate, one per seed."""
        return at_best_rate(self.trained)


def read_arms(record: Mapping[str, Any]) -> ArmsFound:
    """What a record says that the study found."""
    return TypeAdapter(ArmsFound).validate_python(
        {each.name: record[each.name] for each in fields(ArmsFound)}
    )


def name_of(each: Trained) -> str:
    """Arm, rate and seed of a training."""
    return f"{each.run.arm} seed {each.run.seed}"


def step_ratio(found: ArmsFound, arm: str, first: str) -> float | None:
    """How many times as long as one of `first` a step of this arm takes: the median over rounds; None without times."""
    mine, theirs = (found.step_seconds.get(each, ()) for each in (arm, first))
    return median(a / b for a, b in zip(mine, theirs)) if mine and theirs else None


def by_tokens(best: Mapping[str, list[Trained]]) -> dict[int, dict[str, list[Trained]]]:
    """The arms by the tokens that they were trained on, least first."""
    found: dict[int, dict[str, list[Trained]]] = {}
    for arm, seeds in sorted(best.items(), key=lambda item: item[1][0].run.final.tokens):
        found.setdefault(seeds[0].run.final.tokens, {})[arm] = seeds
    return found


def loss_verdicts(found: ArmsFound, question: str = "Equal tokens") -> list[Verdict]:
    """Every arm against the first one that was trained as long, on the validation loss at the end."""
    verdicts = []
    for arms in by_tokens(found.best()).values():
        (first, theirs), *others = arms.items()
        verdicts += [
            compare(
                question,
                "validation loss at the end",
                (first, theirs),
                other,
                lambda each: each.run.final.loss,
            )
            for other in others
        ]
    return verdicts


def compare(
    question: str,
    quantity: str,
    baseline: tuple[str, Sequence[Trained]],
    challenger: tuple[str, Sequence[Trained]],
    value: Callable[[Trained], float],
) -> Verdict:
    """The verdict on two arms by the rules of the benchmark, seed by seed."""
    others = {each.run.seed: each for each in challenger[1]}
    pairs, missing = [], []
    for each in baseline[1]:
        other = others.get(each.run.seed)
        if other is None:
            missing.append(f"{challenger[0]} with seed {each.run.seed} did not finish")
        elif each.run.steered or other.run.steered:
            missing.append(f"a training with seed {each.run.seed} was steered by hand")
        elif other.run.batch_digest != each.run.batch_digest:
            missing.append(f"the arms saw different batches with seed {each.run.seed}")
        else:
            pairs.append(Pair(each.run.seed, value(each), value(other)))
    return conclude(question, quantity, baseline[0], challenger[0], pairs, missing)


def write_losses(seeds: Sequence[Trained]) -> str:
    """The mean of the final losses, and below it the least and the greatest, where there are several seeds."""
    losses = final_losses(seeds)
    spread = f"\n{min(losses):.3f}..{max(losses):.3f}" if len(losses) > 1 else ""
    return f"{fmean(losses):.3f}{spread}"


def write_or_dash(value: float | None, form: str) -> str:
    return DASH if value is None else format(value, form)
