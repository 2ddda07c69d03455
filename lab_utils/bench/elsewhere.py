"""The trainings of a benchmark as jobs, on this machine or on a cluster, and the report of what they gave.

Each arm with each seed is a job, and so is the timing: it runs the steps of all arms in turns, on one device. On this
machine it comes first and alone, since trainings beside it would change what it measures. What the trained models can
do is measured by jobs too, which come last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.measured import add, explain_rest, list_measurable
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.plan import YOURS, Arm, Plan
from lab_utils.bench.progress import Progress, Tell
from lab_utils.bench.report import write_report
from lab_utils.bench.results import LostRun, Results, collect
from lab_utils.bench.unattended import Timing, Training
from nanokimi.config import ConfigError
from nanokimi.system.interpreter import check_same_tree
from nanokimi.system.printable import quote
from nanokimi.text.corpus import Corpus

JOBS = "jobs"
TIMING = "step times"


def check_place(plan: Plan, folder: Path) -> None:
    """`ValueError` where the plan, or the folder of results, is none for jobs, or these would run another tree."""
    check_same_tree()
    if any(arm.name == YOURS for arm in plan.arms):
        raise ConfigError(
            f"arm {quote(YOURS)} is made of your saved notebooks, which no job has: leave it out, or train it here"
        )
    if "%" in str(folder.absolute()):
        raise ConfigError(
            f"--out={quote(str(folder))}: a cluster reads % in a path as a number of the job; name another folder"
        )


def run_elsewhere(plan: Plan, corpus: Corpus, folder: Path, place: Local | Cluster, tell: Tell) -> Results:
    """Run all trainings of `plan` and the timing as jobs, write results.json and report.html, return the results.

    folder: of the run, with an absolute path that all machines of the place share.
    tell: gets a line where something has happened, and one about every ten seconds of what is under way.

    Ctrl-C cancels what was begun; what jobs have kept stays in `folder`. `NotSubmitted` where the queue takes none.
    """
    started = time.monotonic()
    plan = plan.with_vocabulary_of(corpus)
    arms = {f"{arm.name} seed {arm.train.seed}": arm for arm in plan.trials()}
    jobs: dict[str, Callable[[], Any]] = {
        name: Training(plan.data, arm, folder) for name, arm in arms.items()
    }
    timing: dict[str, Callable[[], Any]] = {TIMING: Timing(plan)}
    look = Progress(folder, arms, tell)

    def work(some: Mapping[str, Callable[[], Any]], place: Local | Cluster) -> dict[str, Any]:
        return work_off(some, open_queue(place, folder / JOBS), place, tell, look)

    if isinstance(place, Local):
        found = work(timing, replace(place, at_once=1)) | work(jobs, place)
    else:
        found = work(timing | jobs, place)
    results = _gather(plan, corpus, arms, found, time.monotonic() - started)
    write_report(results, folder)  # so that it is there, whatever becomes of the rest
    measuring = {
        f"abilities of {name}": job for name, job in list_measurable(results, plan.data, folder).items()
    }
    measured = work(measuring, place) if measuring else {}
    for name, job in measuring.items():
        each = measured[name]
        results = add(results, {job.run.arm: each.reason if isinstance(each, Lost) else each})
    results = explain_rest(results)
    write_report(results, folder)
    return results


def _gather(
    plan: Plan, corpus: Corpus, arms: Mapping[str, Arm], found: Mapping[str, Any], seconds: float
) -> Results:
    """What the jobs gave, as the results of a benchmark."""
    timed = found[TIMING]
    runs = [found[name] for name in arms if not isinstance(found[name], Lost)]
    lost = tuple(
        LostRun(arm=arm.name, seed=arm.train.seed, reason=found[name].reason)
        for name, arm in arms.items()
        if isinstance(found[name], Lost)
    )
    gather = partial(collect, plan, corpus, runs, wall_seconds=seconds)
    if isinstance(timed, Lost):
        return replace(gather({}), lost=lost, untimed=timed.reason)
    return replace(gather(timed.step_seconds), lost=lost, environment=timed.environment)
