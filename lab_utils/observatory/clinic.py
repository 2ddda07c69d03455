"""The collapse clinic: eight tiny models, {none, load-balance loss, bias update, both} x {softmax, sigmoid}, watched.

All have the same first weights, batches and learning rate; only the router's scoring and its balancing differ. A
recorded trace comes with the lab, so the whole clinic can be replayed without training. This command records it anew:

    python -m lab_utils.observatory.clinic
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from lab_utils.observatory.look import look
from nanokimi.config import (
    BalanceConfig,
    DataConfig,
    KimiConfig,
    MLAConfig,
    MoEConfig,
    OptimConfig,
    TrainConfig,
)
from nanokimi.kimi import Kimi
from nanokimi.record import StepRecord
from nanokimi.system.atomic import write_text
from nanokimi.text.corpus import Corpus, load_corpus
from nanokimi.train import train

SCORINGS = ("softmax", "sigmoid")
METHODS = {
    "none": BalanceConfig(),
    "load-balance loss": BalanceConfig(switch_coef=0.01),
    "bias update": BalanceConfig(bias_update_rate=0.01),
    "both": BalanceConfig(switch_coef=0.01, bias_update_rate=0.01),
}
DATA = DataConfig(n_characters=40, n_stories=600, vocab_size=512)
SEQ_LEN, PROBE_TOKENS = 64, 24
RECORDED = Path(__file__).with_name("clinic.json")

DEAD = 0.1  # an expert with less than a tenth of an even share
OVERLOADED = 1.0  # MaxVio: one expert does more than twice its share
NARROW = 0.75  # effective experts, as a share of all


@dataclass(frozen=True)
class Frame:
    """One router after `step` steps. Load and loss are means over the steps since the frame before."""

    step: int
    load: tuple[float, ...]  # per expert, 1.0 = even
    loss: float  # nats per token
    probe: tuple[tuple[int, ...], ...]  # the experts of every token of the probe text, largest weight first

    @property
    def max_vio(self) -> float:
        return max(self.load) / fmean(self.load) - 1

    @property
    def effective(self) -> float:
        """How many equally busy experts have the same entropy: exp of the load's entropy. E when even."""
        total = sum(self.load)
        shares = [x / total for x in self.load if x > 0]
        return math.exp(-sum(p * math.log(p) for p in shares))

    @property
    def dead(self) -> tuple[int, ...]:
        return tuple(i for i, x in enumerate(self.load) if x < DEAD)

    def alarms(self) -> list[str]:
        """What is wrong with this router now, one phrase per fault; empty if nothing is."""
        found = []
        if self.dead:
            found.append(f"dead experts: {', '.join(map(str, self.dead))}")
        if self.max_vio > OVERLOADED:
            found.append(f"MaxVio {self.max_vio:.2f}: expert {self.load.index(max(self.load))} is overloaded")
        if self.effective < NARROW * len(self.load):
            found.append(f"entropy: as good as {self.effective:.1f} of {len(self.load)} experts in use")
        return found


@dataclass(frozen=True)
class Course:
    """One model's whole training."""

    scoring: str
    method: str
    frames: tuple[Frame, ...]
    validation_loss: float  # nats per token, at the end

    @property
    def name(self) -> str:
        return f"{self.scoring}, {self.method}"


@dataclass(frozen=True)
class ClinicTrace:
    """All eight courses, and the probe text as the text of its tokens."""

    probe: tuple[str, ...]
    courses: tuple[Course, ...]

    @property
    def steps(self) -> list[int]:
        return [frame.step for frame in self.courses[0].frames]

    def course(self, scoring: str, method: str) -> Course:
        return next(c for c in self.courses if (c.scoring, c.method) == (scoring, method))


def make_clinic_model(scoring: str, vocab_size: int) -> KimiConfig:
    """A dense layer and a layer of 8 experts, 2 per token. No shared expert: it would do the work of dead ones."""
    return KimiConfig(
        vocab_size=vocab_size,
        max_seq_len=SEQ_LEN,
        d_model=32,
        n_layers=2,
        n_heads=2,
        intermediate_size=94,
        mla=MLAConfig(kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=16),
        moe=MoEConfig(
            n_routed_experts=8, n_shared_experts=0, top_k=2, moe_intermediate_size=30, scoring=scoring
        ),
    )


def make_clinic_training(method: str, steps: int) -> TrainConfig:
    """AdamW at 0.01, three times the rate of the course's GPT: fast enough to collapse in less than a minute."""
    return TrainConfig(
        steps=steps,
        batch_size=8,
        seq_len=SEQ_LEN,
        warmup_steps=steps // 20,
        eval_every=steps,
        eval_windows=16,
        device="cpu",
        optim=OptimConfig(lr=0.01),
        balance=METHODS[method],
    )


def treat(
    scoring: str, method: str, corpus: Corpus, steps: int, every: int
) -> Iterator[tuple[Frame, StepRecord]]:
    """Train one model; every `every` steps a frame, with the record of its last step."""
    probe = torch.from_numpy(corpus.val.tokens[:PROBE_TOKENS].astype("int64"))[None]
    model = Kimi(make_clinic_model(scoring, corpus.tokenizer.n_vocab), seed=0)
    since: list[StepRecord] = []
    for record in train(model, corpus, make_clinic_training(method, steps)):
        since.append(record)
        if record.step % every == 0:
            yield _make_frame(since, look(model, probe).layers[0].experts.tolist()), record
            since = []


def run_clinic(corpus: Corpus, steps: int, every: int) -> Iterator[Course]:
    """Train the eight models one after the other; a course per model. `every` must divide `steps`."""
    if steps % every:
        raise ValueError(f"every={every} must divide steps={steps}, so that the last step has a frame")
    for scoring in SCORINGS:
        for method in METHODS:
            frames, records = zip(*treat(scoring, method, corpus, steps, every))
            assert records[-1].evaluation is not None
            yield Course(scoring, method, frames, round(records[-1].evaluation.loss, 4))


def _make_frame(records: Sequence[StepRecord], probe: list[list[int]]) -> Frame:
    load = tuple(round(fmean(column), 3) for column in zip(*(record.expert_load[0] for record in records)))
    loss = round(fmean(record.loss for record in records), 4)
    return Frame(records[-1].step, load, loss, tuple(tuple(experts) for experts in probe))


def read_probe(corpus: Corpus) -> tuple[str, ...]:
    """The tokens of the probe text, as text."""
    ids = corpus.val.tokens[:PROBE_TOKENS].tolist()
    return tuple(corpus.tokenizer.decode([token]) for token in ids)


# ---------------------------------------------------------------- the recorded trace


def write_trace(trace: ClinicTrace, path: Path) -> None:
    write_text(path, json.dumps(asdict(trace), separators=(",", ":")) + "\n")


def read_trace(path: Path = RECORDED) -> ClinicTrace:
    """The trace that comes with the lab, or one that `write_trace` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return ClinicTrace(tuple(data["probe"]), tuple(_read_course(course) for course in data["courses"]))


def _read_course(data: dict[str, Any]) -> Course:
    frames = tuple(
        Frame(f["step"], tuple(f["load"]), f["loss"], tuple(tuple(experts) for experts in f["probe"]))
        for f in data["frames"]
    )
    return Course(data["scoring"], data["method"], frames, data["validation_loss"])


def main() -> None:
    corpus = load_corpus(DATA, seq_len=SEQ_LEN)
    write_trace(ClinicTrace(read_probe(corpus), tuple(run_clinic(corpus, steps=240, every=6))), RECORDED)


if __name__ == "__main__":
    main()
