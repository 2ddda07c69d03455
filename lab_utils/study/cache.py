"""The study of the cache: what latent attention costs and gives while decoding, and what it is worth at equal cache.

First untrained models decode, one job after another; then the arms are trained, as jobs of the benchmark. What was
done stays done: the study goes on after a kill where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab_utils.bench.command import tell
from lab_utils.bench.jobs import Lost, open_queue, work_off
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.plan import Plan
from lab_utils.bench.progress import Tell
from lab_utils.bench.results import Results, collect
from lab_utils.bench.tables import sentence
from lab_utils.bench.verdicts import Verdict, equal_memory
from lab_utils.machine.describe import environment
from lab_utils.study.cache_found import (
    BUDGET,
    Found,
    decoding_table,
    find_reach,
    quality_table,
    reach_table,
)
from lab_utils.study.cache_plan import CachePlan
from lab_utils.study.decoding import Decoding
from lab_utils.study.folder import RESULTS, claim_folder, describe_study
from lab_utils.study.trainings import JOBS, Trained, at_best_rate, count_by_rule, reasons, train_arms
from nanokimi.cli.terminal import say
from nanokimi.system.atomic import write_json
from nanokimi.text.corpus import Corpus, load_corpus

FAILED = 1


def run_cache(plan: CachePlan, folder: Path, place: Local | Cluster) -> int:
    """Run the study, write its record and print its tables; the exit code: 1 where a job never came.

    The record is there as soon as the measurements are, and written again after the trainings.
    """
    corpus = load_corpus(plan.preset.data, seq_len=plan.preset.train.seq_len)
    claim_folder(plan, folder)
    n_trainings = count_by_rule(plan.cells, len(plan.preset.arms))
    tell(f"study {plan.name}, profile {plan.profile}: measurements, then {n_trainings} trainings")
    measured = measure(plan, folder.resolve(), place, tell)
    write_json(folder / RESULTS, _describe(plan, measured, None))
    trained, lost = train_arms(plan.preset.data, plan.cells, corpus, folder.resolve(), place, tell)
    found = replace(measured, trained=trained, lost=measured.lost | lost)
    verdict = find_verdict(plan, corpus, found.trained)
    write_json(folder / RESULTS, _describe(plan, found, verdict))
    tables = [decoding_table(found.decoded), reach_table(found.reach), quality_table(found.trained)]
    say("\n\n".join(map(str, tables)))
    if verdict is not None:
        say(f"{sentence(verdict)} Compared with {verdict.baseline}, the best arm whose cache is as large.")
    for name, reason in found.lost.items():
        say(f"{name} never came: {reason}")
    say(f"record: {folder / RESULTS}")
    return FAILED if found.lost else 0


def _describe(plan: CachePlan, found: Found, verdict: Verdict | None) -> dict[str, Any]:
    """The record, as plain data."""
    return describe_study(plan) | {
        "command": f"make study NAME={plan.name} PROFILE={plan.profile} SEEDS={len(plan.seeds)}",
        "environment": environment(plan.preset.train.device),
        "budget_bytes": BUDGET,
        **asdict(found),
        "verdict": None if verdict is None else asdict(verdict),
    }


def measure(plan: CachePlan, folder: Path, place: Local | Cluster, tell: Tell) -> Found:
    """What untrained models do while they decode. One job at a time: two at once would measure each other."""
    alone = replace(place, at_once=1)
    jobs = _measurements(plan, folder)
    kept = {name: job.kept() for name, job in jobs.items()}
    left = {name: job for name, job in jobs.items() if kept[name] is None}
    done = kept | work_off(left, open_queue(alone, folder / JOBS), alone, tell)
    return Found(
        decoded=tuple(each for found in done.values() if not isinstance(found, Lost) for each in found.found),
        reach=find_reach(plan.models, plan.preset.decoding.contexts),
        trained=(),
        lost=reasons(done),
    )


def _measurements(plan: CachePlan, folder: Path) -> dict[str, Decoding]:
    """A job per batch and context, by its name."""
    asked = plan.preset.decoding
    return {
        f"decoding {batch} x {context}": Decoding(
            models=plan.models,
            batch=batch,
            context=context,
            rounds=asked.rounds,
            tokens=asked.tokens,
            device=plan.preset.train.device,
            file=folder / "decoding" / f"{batch}x{context}.json",
        )
        for batch in asked.batches
        for context in asked.contexts
    }


def find_verdict(plan: CachePlan, corpus: Corpus, trained: Sequence[Trained]) -> Verdict | None:
    """`equal_memory` of every arm at its best rate; None where nothing that can be compared came to its end."""
    best = at_best_rate(trained)
    if plan.preset.challenger not in best:
        return None
    return equal_memory(to_results(plan, corpus, best), plan.preset.challenger)


def to_results(plan: CachePlan, corpus: Corpus, best: dict[str, list[Trained]]) -> Results:
    """The arms at their best rates, as results of a benchmark."""
    arms = {
        cell.arm: replace(cell.trained, name=cell.arm).with_vocabulary_of(corpus)
        for cell in plan.cells
        if cell.arm in best and cell.trained.train.optim.lr == best[cell.arm][0].lr
    }
    runs = [replace(each.run, arm=arm) for arm in arms for each in best[arm]]
    chosen = Plan(profile=plan.profile, data=plan.preset.data, arms=tuple(arms.values()), seeds=plan.seeds)
    return collect(chosen, corpus, runs, {})
