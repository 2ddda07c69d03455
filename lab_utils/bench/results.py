"""The data that a benchmark run leaves: dataclasses, and results.json made from them and read back.

They hold measured numbers only. What follows from these (rows of the table, verdicts) is computed in `compare` and
`verdicts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lab_utils.bench.plan import Arm, Plan
from lab_utils.bench.saved import (
    SavedCorpus,
    SavedEnvironment,
    SavedIntervention,
    SavedModel,
    SavedRole,
    SavedStep,
    SavedTraining,
)
from lab_utils.machine.describe import environment
from nanokimi.abilities.report import Abilities
from nanokimi.config import to_dict
from nanokimi.count import cache_elements, count_parameters, flops_per_token
from nanokimi.system.checked import checked
from nanokimi.system.printable import OneLineError, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.system.real_numbers import Number, Positive, PositiveOrZero
from nanokimi.system.refusals import explain
from nanokimi.system.whole_numbers import Count, Seed, Size
from nanokimi.text.corpus import Corpus

FORMAT = 1
MOST_BYTES = 50_000_000  # a hundred times the longest record of this repository


class ResultsError(OneLineError):
    """results.json is missing or cannot be read: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation on the fixed validation windows; `seconds` is the training time by the clock."""

    step: Count
    tokens: Count
    seconds: PositiveOrZero
    loss: Number  # nats per token
    perplexity: Positive
    bits_per_byte: Number
    floor_bits_per_byte: PositiveOrZero | None
    by_role: dict[str, SavedRole] | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained with one seed."""

    arm: str
    seed: Seed
    n_steps: Count  # as planned; the last point has this step if all were done
    points: tuple[Point, ...]
    train_seconds: PositiveOrZero  # of the optimizer steps, by the clock
    wall_seconds: PositiveOrZero  # including evaluations and saving
    peak_memory: Count | None  # bytes; None where the machine does not tell it
    start_memory: Count | None  # bytes in use before the training began
    batch_digest: str  # SHA-256 of all tokens that the model was trained on, in order
    interventions: tuple[SavedIntervention, ...] = ()  # what a person changed while it ran
    diverged_at: Count | None = None  # the step at which loss, gradient or weights were no longer finite
    compile_seconds: PositiveOrZero = 0.0  # before the steps, for compiling them; not in train_seconds
    diverged_because: str = ""  # what was not finite, and what may help
    tries: tuple[str, ...] = ()  # of a job of its own: the machine of every try, in words
    ranks: Size = 1  # the processes that trained it together; memory is then that of the one with the most

    @property
    def steered(self) -> bool:
        """Whether somebody intervened. Such a run is shown, but no verdict is based on it."""
        return bool(self.interventions)

    @property
    def complete(self) -> bool:
        return bool(self.points) and self.points[-1].step == self.n_steps

    @property
    def final(self) -> Point:
        return self.points[-1]


@dataclass(frozen=True, kw_only=True)
class LostRun:
    """A training that was begun as a job of its own and never came to its end, and why."""

    arm: str
    seed: Seed
    reason: str


@dataclass(frozen=True, kw_only=True)
class ArmFacts:
    """What is known of an arm without training it, and its step times, measured in turn with the other arms'."""

    name: str
    model: SavedModel
    train: SavedTraining
    total: Count
    active: Count
    body_total: Count  # without embeddings and head
    body_active: Count
    flops_per_token: Positive
    cache_per_token: Positive  # numbers that decoding keeps per token, at seq_len
    step_seconds: tuple[Positive, ...] = ()  # one per round
    ranks: Size = 1  # the processes that took these steps together

    @property
    def tokens_per_step(self) -> int:
        return self.train["batch_size"] * self.train["seq_len"] * self.train["grad_accum"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that the report shows."""

    profile: str
    seeds: tuple[Seed, ...]
    arms: dict[str, ArmFacts]
    runs: tuple[Run, ...]
    corpus: SavedCorpus
    environment: SavedEnvironment
    wall_seconds: PositiveOrZero | None = None
    lost: tuple[LostRun, ...] = ()
    untimed: str = ""  # why there are no step times, where a job should have measured them
    # What each arm's model can do, of the first seed; and why another's could not be measured.
    abilities: dict[str, Abilities] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    def run(self, arm: str, seed: int) -> Run | None:
        """The finished training of this arm and seed, or None."""
        return next((r for r in self.runs if (r.arm, r.seed) == (arm, seed) and r.complete), None)

    def diverged_at(self, arm: str, seed: int) -> int | None:
        """The step at which this training diverged, or None."""
        return next((r.diverged_at for r in self.runs if (r.arm, r.seed) == (arm, seed)), None)

    def is_lost(self, arm: str, seed: int) -> bool:
        """Whether this training never came to its end."""
        return any((each.arm, each.seed) == (arm, seed) for each in self.lost)


def run_folder(out_dir: Path, arm: str, seed: int) -> Path:
    """The folder in which a training keeps steps.jsonl and its checkpoint."""
    return out_dir / "runs" / f"{arm}-s{seed}"


def arm_facts(arm: Arm, step_seconds: tuple[float, ...] = ()) -> ArmFacts:
    """The counts of an arm whose model already has the tokenizer's vocabulary size."""
    count = count_parameters(arm.model)
    return ArmFacts(
        name=arm.name,
        model=to_dict(arm.model),
        train=to_dict(arm.train),
        **count._asdict(),
        flops_per_token=flops_per_token(arm.model, arm.train.seq_len),
        cache_per_token=cache_elements(arm.model, arm.train.seq_len) / arm.train.seq_len,
        step_seconds=step_seconds,
        ranks=arm.ranks,
    )


def corpus_facts(plan: Plan, corpus: Corpus) -> dict[str, Any]:
    """The text in numbers; a path on the user's machine is shortened to its last part."""
    config = to_dict(plan.data)
    return {
        **config,
        "source": corpus.name,
        "cache_dir": None,
        "fingerprint": corpus.fingerprint,
        "n_vocab": corpus.tokenizer.n_vocab,
        "train_tokens": len(corpus.train),
        "val_tokens": len(corpus.val),
        "floor": corpus.floor,
    }


def to_json(results: Results) -> dict[str, Any]:
    """The results as plain data for results.json."""
    return {"format": FORMAT, **asdict(results)}


def from_json(data: dict[str, Any]) -> Results:
    """The inverse of `to_json`. Other entries (table, verdicts) are ignored, as they are computed from these.

    Raises `ResultsError` where something is missing, has another type or range, or does not fit the rest.
    """
    known = {each.name for each in fields(Results)}
    try:
        results = TypeAdapter(Results).validate_python({k: v for k, v in data.items() if k in known})
    except ValidationError as error:
        raise ResultsError(explain(error, Results)) from None
    if problem := _find_contradiction(results):
        raise ResultsError(problem)
    return results


def _find_contradiction(results: Results) -> str:
    """What the parts of the results contradict each other in; empty if nothing."""
    if not results.arms or not results.seeds:
        return "it has no arms or no seeds"
    for name, facts in results.arms.items():
        if facts.name != name:
            return f"arms.{quote(name)} is called {quote(facts.name)}"
    for i, run in enumerate(results.runs):
        if run.arm not in results.arms or run.seed not in results.seeds:
            return f"runs.{i} is of arm {quote(run.arm)} with seed {run.seed}, which are not among arms and seeds"
        steps, tokens = ([getattr(point, what) for point in run.points] for what in ("step", "tokens"))
        if any(a >= b for xs in (steps, tokens) for a, b in pairwise(xs)) or (
            steps and steps[-1] > run.n_steps
        ):
            return f"runs.{i}: its points do not go forward to step {run.n_steps}"
    if unknown := [name for name in (*results.abilities, *results.unmeasured) if name not in results.arms]:
        return f"abilities are of arm {quote(unknown[0])}, which is not among arms"
    roles = {frozenset(point.by_role or ()) for run in results.runs for point in run.points}
    return "its points have different roles" if len(roles) > 1 else ""


@checked
def read_results(path: str | Path) -> Results:
    """The results in a results.json; `ResultsError` where it is missing, damaged or of another format."""
    try:
        data = read_small_json(path, MOST_BYTES)
    except UnreadableFile as error:
        raise ResultsError(f"{error}; name the results.json of a folder that the benchmark wrote") from None
    if not isinstance(data, dict) or "format" not in data:
        raise ResultsError(f"file {path} is damaged: it holds no results of a benchmark")
    if data["format"] != FORMAT:
        form = quote(data["format"])
        raise ResultsError(f"file {path}: its format is {form}; this version reads format {FORMAT}")
    try:
        return from_json(data)
    except ResultsError as error:
        raise ResultsError(f"file {path} is damaged: {error}") from None


@checked
def read_steps(run_dir: str | Path) -> list[dict[str, Any]]:
    """The step records of a training, from steps.jsonl; a line that is still being written is left out.

    Raises `ResultsError` for another line that is no record.
    """
    path = Path(run_dir) / "steps.jsonl"
    if not path.exists():
        return []
    reader, records = TypeAdapter(SavedStep), []
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], start=1
    ):
        try:
            records.append(reader.validate_python(json.loads(line)))
        except ValidationError as error:
            raise ResultsError(f"file {path}, line {number}: {explain(error, SavedStep)}") from None
        except (ValueError, RecursionError):
            raise ResultsError(f"file {path}, line {number}: this is no JSON") from None
    return records


@checked
def output_folder(out_dir: str | Path = "", name: str = "notebook") -> Path:
    """`out_dir`, or out/<name> in the checkout in which the notebook was started."""
    if out_dir:
        return Path(out_dir)
    here = Path.cwd()
    root = next((place for place in (here, *here.parents) if (place / "pyproject.toml").exists()), here)
    return root / "out" / name


def collect(
    plan: Plan,
    corpus: Corpus,
    runs: Sequence[Run],
    step_seconds: Mapping[str, tuple[float, ...]],
    wall_seconds: float | None = None,
) -> Results:
    """All measurements together, with a description of the machine."""
    return Results(
        profile=plan.profile,
        seeds=plan.seeds,
        arms={arm.name: arm_facts(arm, step_seconds.get(arm.name, ())) for arm in plan.arms},
        runs=tuple(runs),
        corpus=corpus_facts(plan, corpus),
        environment=environment(plan.arms[0].train.device),
        wall_seconds=wall_seconds,
    )
