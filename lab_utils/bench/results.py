"""The data that a benchmark run leaves: dataclasses, and results.json made from them and read back.

They hold measured numbers only. What follows from these (rows of the table, verdicts) is computed in `compare` and
`verdicts`.
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
    """results.json is missing or cannot be read: one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One evaluation on the fixed validation windows; `seconds` is the training time by the clock."""

    step: int
    tokens: int
    seconds: float
    loss: float  # nats per token
    perplexity: float
    bits_per_byte: float
    floor_bits_per_byte: float | None
    by_role: dict[str, dict[str, float]] | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm trained with one seed."""

    arm: str
    seed: int
    n_steps: int  # as planned; the last point has this step if all were done
    points: tuple[Point, ...]
    train_seconds: float  # of the optimizer steps, by the clock
    wall_seconds: float  # including evaluations and saving
    peak_memory: int | None  # bytes; None where the machine does not tell it
    start_memory: int | None  # bytes in use before the training began
    batch_digest: str  # SHA-256 of all tokens that the model was trained on, in order
    interventions: tuple[dict[str, Any], ...] = ()  # what a person changed while it ran
    diverged_at: int | None = None  # the step at which loss, gradient or weights were no longer finite
    diverged_because: str = ""  # what was not finite, and what may help

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
class ArmFacts:
    """What is known of an arm without training it, and its step times, measured in turn with the other arms'."""

    name: str
    model: dict[str, Any]
    train: dict[str, Any]
    total: int
    active: int
    body_total: int  # without embeddings and head
    body_active: int
    flops_per_token: float
    cache_per_token: float  # numbers that decoding keeps per token, at seq_len
    step_seconds: tuple[float, ...] = ()  # one per round

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

    def diverged_at(self, arm: str, seed: int) -> int | None:
        """The step at which this training diverged, or None."""
        return next((r.diverged_at for r in self.runs if (r.arm, r.seed) == (arm, seed)), None)


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
    """The inverse of `to_json`. Other entries (table, verdicts) are ignored, as they are computed from these."""
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
    """The results in a results.json; `ResultsError` where it is missing, damaged or of another format."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ResultsError(f"{path}: its format is {data['format']}; this version reads format {FORMAT}")
        return from_json(data)
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist; name a folder that the benchmark wrote") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def read_steps(run_dir: Path) -> list[dict[str, Any]]:
    """The step records of a training, from steps.jsonl; a line that is still being written is left out."""
    path = run_dir / "steps.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def output_folder(out_dir: str = "", name: str = "notebook") -> Path:
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
