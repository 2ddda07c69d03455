"""What a benchmark run leaves behind as data: results.json, from these dataclasses and back.

Measured numbers only; what follows from them (rows of the table, verdicts) is computed by `compare`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab_utils.bench.plan import Arm, Plan
from lab_utils.machine.describe import environment
from nanokimi.config import to_dict
from nanokimi.count import cache_elements, count_parameters, flops_per_token
from nanokimi.text.corpus import Corpus

FORMAT = 1


class ResultsError(ValueError):
    """A results.json that is missing or not one: one line that says which."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation on the fixed validation windows; `seconds` is training time as it passed, drift included."""

    step: int
    tokens: int
    seconds: float
    loss: float  # nats a token
    perplexity: float
    bits_per_byte: float
    floor_bits_per_byte: float | None
    by_role: dict[str, dict[str, float]] | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained with one seed."""

    arm: str
    seed: int
    n_steps: int  # as planned; the last point is there if all were done
    points: tuple[Point, ...]
    train_seconds: float  # optimizer steps as they passed
    wall_seconds: float  # with evaluations and saving
    peak_memory: int | None  # bytes; None where the machine does not tell
    start_memory: int | None  # bytes in use before the training began
    batch_digest: str  # SHA-256 over every token the model was trained on, in its order
    interventions: tuple[dict[str, Any], ...] = ()  # what a person changed while it ran

    @property
    def steered(self) -> bool:
        """Whether somebody intervened: such a run teaches, but nothing is concluded from it."""
        return bool(self.interventions)

    @property
    def complete(self) -> bool:
        return bool(self.points) and self.points[-1].step == self.n_steps

    @property
    def final(self) -> Point:
        return self.points[-1]


@dataclass(frozen=True, kw_only=True)
class ArmFacts:
    """What is known of an arm without training it, and its step times measured in turns with the others'."""

    name: str
    model: dict[str, Any]
    train: dict[str, Any]
    total: int
    active: int
    body_total: int  # embeddings and head apart
    body_active: int
    flops_per_token: float
    cache_per_token: float  # numbers a token that decoding keeps, at seq_len
    step_seconds: tuple[float, ...] = ()  # one a round

    @property
    def tokens_per_step(self) -> int:
        return self.train["batch_size"] * self.train["seq_len"] * self.train["grad_accum"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that the report shows."""

    profile: str
    seeds: tuple[int, ...]
    arms: dict[str, ArmFacts]
    runs: tuple[Run, ...]
    corpus: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    wall_seconds: float | None = None

    def run(self, arm: str, seed: int) -> Run | None:
        """The finished training of this arm and seed, or None."""
        return next((r for r in self.runs if (r.arm, r.seed) == (arm, seed) and r.complete), None)


def run_folder(out_dir: Path, arm: str, seed: int) -> Path:
    """Where a training keeps steps.jsonl and its checkpoint."""
    return out_dir / "runs" / f"{arm}-s{seed}"


def arm_facts(arm: Arm, step_seconds: tuple[float, ...] = ()) -> ArmFacts:
    """The counts of an arm whose vocabulary is already the tokenizer's."""
    count = count_parameters(arm.model)
    return ArmFacts(
        name=arm.name,
        model=to_dict(arm.model),
        train=to_dict(arm.train),
        **count._asdict(),
        flops_per_token=flops_per_token(arm.model, arm.train.seq_len),
        cache_per_token=cache_elements(arm.model, arm.train.seq_len) / arm.train.seq_len,
        step_seconds=step_seconds,
    )


def corpus_facts(plan: Plan, corpus: Corpus) -> dict[str, Any]:
    """The text as numbers; a path of the user's machine is shortened to its last part."""
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
    return {"format": FORMAT, **asdict(results)}


def from_json(data: dict[str, Any]) -> Results:
    """The inverse of `to_json`; further entries (table, verdicts) are left out, as they can be computed again."""
    runs = tuple(
        Run(
            **run
            | {
                "points": tuple(Point(**point) for point in run["points"]),
                "interventions": tuple(run.get("interventions", ())),
            }
        )
        for run in data["runs"]
    )
    arms = {
        name: ArmFacts(**{**facts, "step_seconds": tuple(facts["step_seconds"])})
        for name, facts in data["arms"].items()
    }
    return Results(
        profile=data["profile"],
        seeds=tuple(data["seeds"]),
        arms=arms,
        runs=runs,
        corpus=data["corpus"],
        environment=data["environment"],
        wall_seconds=data["wall_seconds"],
    )


def read_results(path: Path) -> Results:
    """Read results.json; `ResultsError` where it is missing, damaged or of another format."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ResultsError(f"{path}: format {data['format']} is not {FORMAT}, this version's")
        return from_json(data)
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist: name a folder that the benchmark wrote") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def read_steps(run_dir: Path) -> list[dict[str, Any]]:
    """The records of a training as they stand in steps.jsonl; a line that is still being written is left out."""
    path = run_dir / "steps.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def output_folder(out_dir: str = "", name: str = "notebook") -> Path:
    """`out_dir`, or out/<name> in the checkout that the notebook was started in."""
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
    """All that was measured, with the machine it was measured on."""
    return Results(
        profile=plan.profile,
        seeds=plan.seeds,
        arms={arm.name: arm_facts(arm, step_seconds.get(arm.name, ())) for arm in plan.arms},
        runs=tuple(runs),
        corpus=corpus_facts(plan, corpus),
        environment=environment(plan.arms[0].train.device),
        wall_seconds=wall_seconds,
    )
