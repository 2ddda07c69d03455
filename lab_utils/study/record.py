"""The record of a study: all its trainings run as jobs, what they gave as JSON, and the table that follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.progress import Progress, Tell
from lab_utils.bench.results import MOST_BYTES
from lab_utils.machine.describe import environment
from lab_utils.show.table import Table
from lab_utils.study.cache_plan import CachePlan
from lab_utils.study.plan import StudyPlan
from lab_utils.study.trial import FactsTrial, Outcome
from nanokimi.config import ConfigError, to_dict
from nanokimi.system.atomic import write_json
from nanokimi.system.printable import quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text.corpus import Corpus

FORMAT = 1
STUDY, RESULTS, JOBS = "study.json", "results.json", "jobs"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a study gave, and by name why a training gave nothing."""

    outcomes: tuple[Outcome, ...]
    lost: dict[str, str]


def claim_folder(plan: StudyPlan | CachePlan, folder: Path) -> None:
    """Note in the folder which study it holds. `ConfigError` where it holds another one, or cannot be written."""
    mine = describe_study(plan)
    try:
        if (folder / STUDY).exists():
            theirs = read_small_json(folder / STUDY, MOST_BYTES)
            if theirs != json.loads(json.dumps(mine)):  # as it reads back: JSON has lists only
                raise ConfigError(
                    f"--out={quote(str(folder))} holds a study with other settings; name another folder, or delete it"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STUDY, mine)
    except UnreadableFile as error:
        raise ConfigError(f"--out={quote(str(folder))}: {error}; name another folder") from None
    except OSError as error:
        raise ConfigError(f"--out={quote(str(folder))} cannot be written: {error.strerror}") from None


def describe_study(plan: StudyPlan | CachePlan) -> dict[str, Any]:
    """Which study this is."""
    return {"format": FORMAT, "name": plan.name, "profile": plan.profile, "preset": to_dict(plan.preset)}


def run_study(
    plan: StudyPlan, corpora: Sequence[Corpus], folder: Path, place: Local | Cluster, tell: Tell
) -> Found:
    """Run all trainings as jobs, write results.json into `folder`, and return what they gave.

    corpora: the texts of `plan.texts()`, prepared. What an earlier call of the same study has finished in the same
    folder is not done again, and a training that was killed goes on.
    """
    of_text = dict(zip(map(str, plan.texts()), corpora, strict=True))
    trials = {}
    for cell in plan.cells:
        arm = cell.on(of_text[str(cell.data)])
        trials[f"{arm.name} seed {arm.train.seed}"] = FactsTrial(cell, arm, folder)
    jobs: dict[str, Callable[[], Outcome]] = dict(trials)
    look = Progress(folder, {name: trial.arm for name, trial in trials.items()}, tell)
    done = work_off(jobs, open_queue(place, folder / JOBS), place, tell, look)
    found = Found(
        outcomes=tuple(each for each in done.values() if not isinstance(each, Lost)),
        lost={name: each.reason for name, each in done.items() if isinstance(each, Lost)},
    )
    where = environment(plan.preset.train.device)
    write_json(folder / RESULTS, describe_study(plan) | {"environment": where, **asdict(found)})
    return found


def best_of_rates(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Of every arm on every text with every seed the training with the lowest validation loss; none that diverged."""
    best: dict[tuple, Outcome] = {}
    for each in outcomes:
        place = (each.n_characters, each.n_exposures, each.seed, each.arm)
        if each.seen is not None and (place not in best or each.run.final.loss < best[place].run.final.loss):
            best[place] = each
    return list(best.values())


def facts_table(outcomes: Sequence[Outcome]) -> Table:
    """What the best rate of every arm knows; bits per parameter are those of seen phrasings."""
    heads = ["characters", "exposures", "arm", "rate", "known", "held out", "sampled", "held out",
             "bits per\nactive", "bits per\nparameter"]  # fmt: skip
    rows = []
    for each in best_of_rates(outcomes):
        assert each.seen is not None and each.held_out is not None
        shares = (each.seen.known, each.held_out.known, each.seen.probability, each.held_out.probability)
        rows.append(
            [
                f"{each.n_characters:,}",
                str(each.n_exposures),
                each.arm if each.seed == 0 else f"{each.arm}, seed {each.seed}",
                f"{each.lr:g}",
                *(f"{share:.1%}" for share in shares),
                f"{each.seen.bits / each.body_active:.2f}",
                f"{each.seen.bits / each.body_total:.2f}",
            ]
        )
    caption = "Parameters are those of the body: without embeddings and head. Every rate is in results.json."
    return Table.of(heads, rows, caption, words=(2,))
