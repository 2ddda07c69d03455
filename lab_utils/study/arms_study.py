"""A study of arms: its trainings as jobs of the benchmark, their logs, its record, and what its question makes of it.

Begun again after a kill, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote as quote_word
from typing import Any

from lab_utils.bench.command import tell
from lab_utils.bench.place import Cluster, Local
from lab_utils.bench.results import run_folder
from lab_utils.bench.tables import sentence
from lab_utils.bench.timing import time_in_turns
from lab_utils.machine.describe import environment
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.table import Table
from lab_utils.study.arms_found import ArmsFound, Experts, loss_verdicts, name_of
from lab_utils.study.arms_pictures import evenness_picture, logits_picture, sparsity_picture, tokens_picture
from lab_utils.study.arms_plan import ArmsPlan, Question
from lab_utils.study.evenness import evenness_table
from lab_utils.study.folder import RESULTS, claim_folder, describe_study
from lab_utils.study.kept import find_once
from lab_utils.study.logged import read_logged
from lab_utils.study.logits import logits_table
from lab_utils.study.page import write_page
from lab_utils.study.sparsity import sparsity_table
from lab_utils.study.tokens import tokens_table
from lab_utils.study.trainings import Trained, count_by_rule, train_arms
from nanokimi.cli.terminal import say
from nanokimi.config import KimiConfig
from nanokimi.system.atomic import write_json
from nanokimi.text.corpus import Corpus, load_corpus

FAILED = 1
STEPS = "steps.json"
ROUNDS = 20  # of the measurement of steps, in turns


@dataclass(frozen=True)
class Answer:
    """How a question is answered: the title of its page, its table and its picture."""

    title: str
    table: Callable[[ArmsFound], Table]
    picture: Callable[[ArmsFound], Snapshot]


ANSWERS: dict[Question, Answer] = {
    "tokens": Answer("How many tokens for the same loss?", tokens_table, tokens_picture),
    "logits": Answer("How large do attention's logits become?", logits_table, logits_picture),
    "balance": Answer("What does imbalance cost, and what evenness?", evenness_table, evenness_picture),
    "sparsity": Answer("Do more experts predict better at the same cost?", sparsity_table, sparsity_picture),
}


@dataclass(frozen=True, kw_only=True)
class _StepTimes:
    """Of every arm, the seconds of a training step in each round of a measurement in turns."""

    seconds: dict[str, tuple[float, ...]]


def run_arms(plan: ArmsPlan, folder: Path, place: Local | Cluster) -> int:
    """Run the study, write its record and its page, and print its table; the exit code: 1 where a job never came."""
    preset = plan.preset
    corpus = load_corpus(preset.data, seq_len=preset.train.seq_len)
    claim_folder(plan, folder)
    tell(
        f"study {plan.name}, profile {plan.profile}: {count_by_rule(plan.cells, len(preset.arms))} trainings"
    )
    trained, lost = train_arms(preset.data, plan.cells, corpus, folder.resolve(), place, tell)
    found = ArmsFound(
        question=preset.question,
        experts=_find_experts(plan),
        trained=tuple(_without_roles(each) for each in trained),
        logged={
            name_of(each): read_logged(run_folder(folder, each.run.arm, each.run.seed)) for each in trained
        },
        step_seconds=find_once(folder / STEPS, _StepTimes, lambda: _time_steps(plan, corpus)).seconds,
        lost=lost,
        environment=environment(preset.train.device),
    )
    write_json(folder / RESULTS, _describe(plan, found))
    answer, verdicts = ANSWERS[preset.question], loss_verdicts(found)
    table = answer.table(found)
    say("\n\n".join([str(table), "\n".join(map(sentence, verdicts))]))
    for name, reason in lost.items():
        say(f"{name} never came: {reason}")
    picture = answer.picture(found) if found.best() else None  # none where all diverged
    runs = [each.run for each in trained]
    report = write_page(answer.title, picture, table, {"What follows": verdicts}, lost, runs, folder)
    say(f"record: {folder / RESULTS}, report: {report}")
    return FAILED if lost else 0


def _describe(plan: ArmsPlan, found: ArmsFound) -> dict[str, Any]:
    """The record, as plain data."""
    command = f"make study NAME={plan.name} PROFILE={plan.profile} SEEDS={len(plan.seeds)}"
    command += f" DATA={quote_word(plan.data)}" if plan.data else ""
    return describe_study(plan) | {"command": command, **asdict(found)}


def _find_experts(plan: ArmsPlan) -> dict[str, Experts]:
    models = {cell.arm: cell.trained.model for cell in plan.cells}
    sections = {
        arm: cfg.moe for arm, cfg in models.items() if isinstance(cfg, KimiConfig) and cfg.moe is not None
    }
    return {arm: Experts(n=moe.n_routed_experts, top_k=moe.top_k) for arm, moe in sections.items()}


def _without_roles(each: Trained) -> Trained:
    """The same without the losses of every role, which no question reads: they are most of a record."""
    points = tuple(replace(point, by_role=None) for point in each.run.points)
    return replace(each, run=replace(each.run, points=points))


def _time_steps(plan: ArmsPlan, corpus: Corpus) -> _StepTimes:
    cells = {cell.arm: cell for cell in reversed(plan.cells)}
    arms = [replace(cells[arm].trained.with_vocabulary_of(corpus), name=arm) for arm in plan.preset.arms]
    return _StepTimes(seconds=time_in_turns(arms, corpus, ROUNDS))
