"""What the tests of training share: a small run, its numbers without the clock, and stopping it in the middle."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nanokimi.config import BalanceConfig, TrainConfig
from nanokimi.kimi import Kimi
from nanokimi.model import Model, build_model
from nanokimi.record import StepRecord
from nanokimi.steering import Intervention, Steer
from nanokimi.text.corpus import batch
from nanokimi.train import train
from tests import tiny

RECIPES = {
    "gpt-adamw": ("gpt", tiny.train_config()),
    "kimi-bias": (
        "kimi-mla",
        tiny.train_config(balance=BalanceConfig(bias_update_rate=1e-3, sequence_coef=1e-2)),
    ),
    "kimi-muonclip": ("kimi-mla", tiny.muon_clip()),
    "kimi-accumulated": ("kimi-block_latent", tiny.muon_clip(grad_accum=2)),
}
# Both balance the experts, so that there is a bias to steer.
ADAMW = tiny.train_config(steps=8, balance=BalanceConfig(bias_update_rate=1e-2))
MUON = tiny.muon_clip(steps=8)
EVERYTHING = (
    Intervention(2, "lr_factor", 0.5),
    Intervention(3, "bias_update_rate", 0),
    Intervention(3, "switch_coef", 0.1),
    Intervention(4, "frozen_experts", ((1, 2),)),
    Intervention(5, "inference_top_k", 1),
    Intervention(6, "lr_factor", 2.0),
    Intervention(7, "frozen_experts", ()),
    Intervention(7, "sequence_coef", 0.01),
)
CLOCK = ("seconds", "tokens_per_s", "compile_seconds")


def make_model(name: str, seed: int = 0, harsh: bool = False, **changes) -> Model:
    """One of `tiny.MODELS`, with its own first weights or with harsh ones."""
    model = build_model(replace(tiny.model_config(name), **changes), seed)
    return tiny.harsh_(model, seed) if harsh else model


def run(model: Model, cfg: TrainConfig, **more) -> list[StepRecord]:
    """All records of a training on the tiny corpus."""
    return list(train(model, tiny.corpus(), cfg, **more))


def stop_after(model: Model, cfg: TrainConfig, steps: int, run_dir: Path, **more) -> list[StepRecord]:
    """Take `steps` records, then close the generator, as a stop button or Ctrl-C does."""
    running = train(model, tiny.corpus(), cfg, run_dir, **more)
    records = [next(running) for _ in range(steps)]
    running.close()
    return records


def read_refusal(kind: type[Exception], *args, **more) -> str:
    """The one line with which `train(*args, **more)` refuses to take its first step."""
    with pytest.raises(kind) as error:
        next(train(*args, **more))
    assert "\n" not in str(error.value)
    return str(error.value)


def drop_clock(records: Iterable[StepRecord]) -> list[dict]:
    """Everything in the records but the clock's numbers."""
    return [{k: v for k, v in record.to_dict().items() if k not in CLOCK} for record in records]


def read_log(run_dir: Path) -> list[dict]:
    """The lines of steps.jsonl without the clock's numbers."""
    lines = [json.loads(line) for line in (run_dir / "steps.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def make_kimi() -> Kimi:
    """A Kimi with experts and harsh weights."""
    return make_model("kimi-mla", harsh=True)


def run_steered(cfg: TrainConfig, *interventions: Intervention, **more) -> list[StepRecord]:
    """All records of a training of `make_kimi()` with these interventions."""
    return run(more.pop("model", None) or make_kimi(), cfg, steer=intervene(*interventions), **more)


def intervene(*interventions: Intervention) -> Steer:
    """A steer that makes these interventions, each at its step."""
    return lambda step: [each for each in interventions if each.step == step]


def take_batch(cfg: TrainConfig, micro: int = 0) -> tuple[Tensor, Tensor]:
    """The inputs and targets of a training's first step, or of another micro-batch."""
    return batch(tiny.corpus().train, micro, batch_size=cfg.batch_size, seq_len=cfg.seq_len, seed=cfg.seed)


def assert_same_tensors(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """The same names, and the same numbers bit for bit."""
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


class Clock:
    """`time.perf_counter` as a number that moves only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def tick(self, seconds: float) -> None:
        self.now += seconds

    def slow_down(self, model: Model, training: float, evaluation: float) -> Model:
        """The model, of which a forward pass takes so many seconds with and without gradients; all else takes none."""
        model.register_forward_pre_hook(
            lambda *_: self.tick(training if torch.is_grad_enabled() else evaluation)
        )
        return model
