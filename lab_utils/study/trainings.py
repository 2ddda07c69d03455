"""The trainings of a study as jobs: with the first seed at every rate, with the others at the best of these rates.

What was trained in the same folder before is not trained again, and a training that was killed goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, TypeVar

from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.plan import Arm
from lab_utils.bench.progress import Progress, Tell
from lab_utils.bench.results import Run, run_folder
from lab_utils.bench.trial import read_run
from lab_utils.bench.unattended import Training
from lab_utils.study.arms import ArmCell
from nanokimi.config import DataConfig
from nanokimi.count import cache_elements, count_parameters
from nanokimi.text.corpus import Corpus

JOBS = "jobs"


class Cell(Protocol):
    """What is to be trained. The name of `trained` says everything but the seed."""

    @property
    def trained(self) -> Arm: ...


class HasRun(Protocol):
    """What a training gave; its run has the name of what was trained."""

    @property
    def run(self) -> Run: ...


C = TypeVar("C", bound=Cell)
T = TypeVar("T", bound=HasRun)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One arm at one rate with one seed."""

    arm: str
    lr: float
    cache_per_token: int  # numbers, all layers
    body_active: int  # parameters, without embeddings and head
    body_total: int
    run: Run


def train_by_rule(
    cells: Sequence[C],
    work: Callable[[Sequence[C]], Mapping[str, T | Lost]],
    best: Callable[[Sequence[T]], Iterable[T]],
) -> dict[str, T | Lost]:
    """What `work` makes of the cells of the first seed, and of those of other seeds at the best rates.

    best: of what came with the first seed, what has the best rate of its arm.
    """
    first = cells[0].trained.train.seed
    done = dict(work([cell for cell in cells if cell.trained.train.seed == first]))
    names = {each.run.arm for each in best(came(done))}
    done |= work([cell for cell in cells if cell.trained.train.seed != first and cell.trained.name in names])
    return done


def count_by_rule(cells: Sequence[Cell], n_arms: int) -> int:
    """How many trainings `train_by_rule` takes of `n_arms` arms: the other seeds have one rate per arm."""
    seeds = {cell.trained.train.seed for cell in cells}
    return len(cells) // len(seeds) + (len(seeds) - 1) * n_arms


def came(done: Mapping[str, T | Lost]) -> list[T]:
    """What came to its end."""
    return [each for each in done.values() if not isinstance(each, Lost)]


def reasons(done: Mapping[str, Any]) -> dict[str, str]:
    """By the name of every job that never came, why."""
    return {name: each.reason for name, each in done.items() if isinstance(each, Lost)}


def job_name(arm: Arm) -> str:
    """What a training is called while it is under way."""
    return f"{arm.name} seed {arm.train.seed}"


def train_arms(
    data: DataConfig,
    cells: Sequence[ArmCell],
    corpus: Corpus,
    folder: Path,
    place: Local | Cluster,
    tell: Tell,
) -> tuple[tuple[Trained, ...], dict[str, str]]:
    """What the trainings of these cells gave, and by name why one gave nothing. corpus: the text of `data`."""

    def work(some: Sequence[ArmCell]) -> dict[str, Trained | Lost]:
        by_name = {job_name(cell.trained): cell for cell in some}
        arms = {name: cell.trained.with_vocabulary_of(corpus) for name, cell in by_name.items()}
        kept = {name: _read_ended(folder, arm) for name, arm in arms.items()}
        jobs = {name: Training(data, arm, folder) for name, arm in arms.items() if kept[name] is None}
        look = Progress(folder, arms, tell)
        done = kept | work_off(jobs, open_queue(place, folder / JOBS), place, tell, look)
        return {
            name: _describe(by_name[name].arm, arms[name], run) if isinstance(run, Run) else run
            for name, run in done.items()
            if run is not None
        }

    done = train_by_rule(cells, work, lambda found: [seeds[0] for seeds in at_best_rate(found).values()])
    return tuple(came(done)), reasons(done)


def _read_ended(folder: Path, arm: Arm) -> Run | None:
    """What an earlier training of this arm has kept, where it came to its end: a job takes seconds to begin."""
    run = read_run(run_folder(folder, arm.name, arm.train.seed))
    return run if run is not None and (run.complete or run.diverged_at is not None) else None


def _describe(name: str, arm: Arm, run: Run) -> Trained:
    count = count_parameters(arm.model)
    return Trained(
        arm=name,
        lr=arm.train.optim.lr,
        cache_per_token=cache_elements(arm.model, 1),
        body_active=count.body_active,
        body_total=count.body_total,
        run=run,
    )


def at_best_rate(trained: Iterable[Trained]) -> dict[str, list[Trained]]:
    """By arm, its finished trainings at its best rate, one per seed; arms without any are left out.

    The best rate is the one with the most finished seeds, and among these with the lowest mean loss.
    """
    finished: dict[str, dict[float, list[Trained]]] = {}
    for each in trained:
        if each.run.complete:
            finished.setdefault(each.arm, {}).setdefault(each.lr, []).append(each)
    return {
        arm: min(of_rate.values(), key=lambda found: (-len(found), fmean(final_losses(found))))
        for arm, of_rate in finished.items()
    }


def final_losses(found: Iterable[Trained]) -> list[float]:
    """The validation loss at the end of each of these."""
    return [each.run.final.loss for each in found]
