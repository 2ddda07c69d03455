"""The record of a study: all its trainings run as jobs, what they gave as JSON, and the table that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.progress import Progress, Tell
from lab_utils.bench.results import MOST_BYTES, ResultsError
from lab_utils.bench.tables import DASH
from lab_utils.bench.timing import time_in_turns
from lab_utils.machine.describe import environment
from lab_utils.show.table import Table
from lab_utils.study.folder import RESULTS, describe_study
from lab_utils.study.plan import Cell, StudyPlan
from lab_utils.study.trainings import JOBS, came, job_name, reasons, train_by_rule
from lab_utils.study.trial import FactsTrial, Outcome, best_of_rates, by_place
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import one_line, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text.corpus import Corpus

ROUNDS = 20  # of the measurement of steps, in turns


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a study gave, and by name why a training gave nothing.

    step_seconds: of every arm, the seconds of a training step in each round of a measurement in turns.
    environment: of the process that began the trainings; each run names the machine that trained it.
    """

    outcomes: tuple[Outcome, ...]
    lost: dict[str, str]
    step_seconds: dict[str, tuple[float, ...]]
    environment: dict[str, Any]


def run_study(
    plan: StudyPlan, corpora: Sequence[Corpus], folder: Path, place: Local | Cluster, tell: Tell
) -> Found:
    """Run the trainings as jobs, write results.json into `folder`, and return what they gave.

    The first seed is trained at every rate, the others at the best of these rates only.

    corpora: the texts of `plan.texts()`, prepared. What an earlier call of the same study has finished in the same
    folder is not done again, and a training that was killed goes on.
    """
    of_text = dict(zip(map(str, plan.texts()), corpora, strict=True))

    def work(cells: Sequence[Cell]) -> dict[str, Outcome | Lost]:
        arms = {job_name(cell.trained): cell.on(of_text[str(cell.data)]) for cell in cells}
        jobs = {name: FactsTrial(cell, arm, folder) for cell, (name, arm) in zip(cells, arms.items())}
        look = Progress(folder, arms, tell)
        return work_off(jobs, open_queue(place, folder / JOBS), place, tell, look)

    done = train_by_rule(plan.cells, work, best_of_rates)
    found = Found(
        outcomes=tuple(came(done)),
        lost=reasons(done),
        step_seconds=_time_steps(plan, corpora[0], folder),
        environment=environment(plan.preset.train.device),
    )
    write_json(folder / RESULTS, describe_study(plan) | asdict(found))
    return found


def _time_steps(plan: StudyPlan, corpus: Corpus, folder: Path) -> dict[str, tuple[float, ...]]:
    """Seconds of a step of every arm, measured in turns on the first text, or by an earlier call."""
    try:
        return read_study(folder / RESULTS).step_seconds
    except ResultsError:
        cells = {cell.arm: cell for cell in reversed(plan.cells)}
        arms = [replace(cells[name].on(corpus), name=name) for name in plan.preset.arms]
        return time_in_turns(arms, corpus, ROUNDS)


def read_study(path: str | Path) -> Found:
    """What the record of a study holds. `ResultsError` in one line where it is none."""
    try:
        record = read_small_json(path, MOST_BYTES)
        fields = {name: record[name] for name in Found.__dataclass_fields__}
        return TypeAdapter(Found).validate_python(fields)
    except (UnreadableFile, ValidationError, KeyError, TypeError) as error:
        raise ResultsError(f"{quote(str(path))} is no record of a study: {one_line(error, 200)}") from None


def facts_table(found: Found) -> Table:
    """What the best rate of every arm knows, a mean over the seeds; bits are those of seen phrasings."""
    heads = ["characters", "exposures", "arm", "seeds", "rate", "known", "held out", "sampled", "held out",
             "bits per\nactive", "bits per\nparameter", "ms per\nstep"]  # fmt: skip
    rows = []
    for (n_characters, n_exposures, arm), seeds in by_place(found.outcomes).items():
        seen = [each.seen for each in seeds if each.seen]
        held_out = [each.held_out for each in seeds if each.held_out]
        bits = fmean(each.bits for each in seen)
        rows.append(
            [
                f"{n_characters:,}",
                str(n_exposures),
                arm,
                str(len(seeds)),
                f"{seeds[0].lr:g}",
                *(f"{fmean(each.known for each in of):.1%}" for of in (seen, held_out)),
                *(f"{fmean(each.probability for each in of):.1%}" for of in (seen, held_out)),
                f"{bits / seeds[0].body_active:.2f}",
                f"{bits / seeds[0].body_total:.2f}",
                f"{1000 * median(times):.0f}" if (times := found.step_seconds.get(arm)) else DASH,
            ]
        )
    caption = "Parameters are those of the body: without embeddings and head. Every rate is in results.json."
    return Table.of(heads, rows, caption, words=(2,))
