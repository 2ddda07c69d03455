"""How long a training step of a Kimi takes on a measured machine, and how much memory: behind the planner.

A step costs a machine four things, each in proportion to a number that follows from the configuration: products (their
operations), the optimizer (parameters), everything between products (activations), and starting operations (calls).
`benchmarks.scaling` measures steps of many sizes. Its points at the ends of the axes tell what each of the four costs
on that machine; a test compares the forecast with all other points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nanokimi.config import ConfigError, KimiConfig
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.presets.yaml_config import build_model_config
from nanokimi.system.printable import quote

# Of the machine whose scaling docs/performance.md shows. A wheel has no measurements.
MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "scaling-amd-epyc-with-avx2-2-threads.json"


@dataclass(frozen=True)
class StepSize:
    """What a training step asks of any machine."""

    operations: float  # of products
    parameters: float
    activations: float  # numbers that the forward pass makes and the backward pass reads
    calls: float  # operations that are started, in units of a dense layer's

    @classmethod
    def of(cls, cfg: KimiConfig, batch_size: int, seq_len: int) -> StepSize:
        """Of a step on `batch_size` windows of `seq_len` tokens."""
        tokens = batch_size * seq_len
        return cls(
            operations=tokens * flops_per_token(cfg, seq_len),
            parameters=count_parameters(cfg).total,
            activations=tokens * _activations_per_token(cfg),
            calls=sum(1.0 if cfg.is_dense(i) else 1.0 + 0.2 * _experts(cfg) for i in range(cfg.n_layers)),
        )


def _experts(cfg: KimiConfig) -> int:
    return 0 if cfg.moe is None else cfg.moe.n_routed_experts


def _activations_per_token(cfg: KimiConfig) -> float:
    """Inputs and outputs of the products and of what stands between them, all layers, and the logits."""
    d, moe, mla = cfg.d_model, cfg.moe, cfg.mla
    assert moe is not None and mla is not None
    qk = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    attention = 4 * d + cfg.n_heads * (2 * qk + 2 * mla.v_head_dim) + 2 * mla.kv_lora_rank
    dense = 4 * cfg.intermediate_size
    routed = moe.top_k * (2 * d + 4 * moe.moe_intermediate_size) + 2 * moe.n_routed_experts
    sparse = routed + 4 * moe.n_shared_experts * moe.moe_intermediate_size
    mlps = sum(dense if cfg.is_dense(layer) else sparse for layer in range(cfg.n_layers))
    return cfg.n_layers * attention + mlps + 3 * cfg.vocab_size


@dataclass(frozen=True)
class Machine:
    """What the parts of a training step cost on one machine.

    seconds: per operation of a product, per parameter, per activation and per call. bytes: fixed, per parameter and per
    activation; None where the machine does not tell its memory.
    """

    name: str
    seconds: tuple[float, ...]
    bytes: tuple[float, ...] | None

    def forecast(self, cfg: KimiConfig, batch_size: int, seq_len: int) -> tuple[float, float | None]:
        """Seconds and peak memory in bytes of a step (AdamW) on `batch_size` windows of `seq_len` tokens."""
        size = StepSize.of(cfg, batch_size, seq_len)
        memory = None if self.bytes is None else float(np.dot(_memory_row(size), self.bytes))
        return float(np.dot(_time_row(size), self.seconds)), memory


def _time_row(size: StepSize) -> list[float]:
    return [size.operations, size.parameters, size.activations, size.calls]


def _memory_row(size: StepSize) -> list[float]:
    return [1.0, size.parameters, size.activations]


def read_measurement(path: Path) -> Machine:
    """The machine that this record of `benchmarks.scaling` measured; `ConfigError` where the file is none."""
    try:
        return fit_machine(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"planner: file {quote(str(path))} is no record of benchmarks.scaling ({type(error).__name__}); "
            "python -m benchmarks.scaling writes one to out/benchmarks/"
        ) from None


def fit_machine(record: dict[str, Any]) -> Machine:
    """The machine whose forecasts come closest to the record's points that calibrate, as shares of their values."""
    points = [point for point in record["points"] if point["calibrates"]]
    sizes = [size_of(point) for point in points]
    seconds = _fit(list(map(_time_row, sizes)), [point["ms"] / 1000 for point in points])
    memory = [point["peak_memory"] for point in points]
    known = None if None in memory else _fit(list(map(_memory_row, sizes)), memory)
    return Machine(record["machine"], seconds, known)


def size_of(point: dict[str, Any]) -> StepSize:
    """What the step of a recorded point asks for."""
    cfg = build_model_config(point["model"])
    assert isinstance(cfg, KimiConfig)
    return StepSize.of(cfg, point["batch_size"], point["seq_len"])


def _fit(rows: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, ...]:
    """The costs, none below 0, for which rows @ costs is closest to the values, each error as a share of its value."""
    shares = np.array(rows) / np.array(values)[:, None]
    scale = np.abs(shares).max(axis=0)  # operations are 10^10, calls are 10
    kept = list(range(shares.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(shares[:, kept] / scale[kept], np.ones(len(values)), rcond=None)
        if found.min() >= 0:
            break
        del kept[int(found.argmin())]  # a part that would cost less than nothing is left out
    costs = np.zeros(shares.shape[1])
    costs[kept] = found / scale[kept]
    return tuple(map(float, costs))
