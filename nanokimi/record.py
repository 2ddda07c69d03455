"""What is told about every step: the record that `train` yields, and its line in the log of the run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nanokimi.evaluate import Evaluation
from nanokimi.steering import Intervention
from nanokimi.system import atomic


@dataclass(frozen=True)
class StepRecord:
    """The facts of one optimizer step, as plain numbers: bars, panels, logs and reports are made from them."""

    step: int  # from 1
    n_steps: int
    tokens: int  # seen so far
    seconds: float  # of training so far, without evaluating, saving, waiting and the steps that were given up
    tokens_per_s: float  # of this step
    lr: float
    loss: float  # nats per token on this step's batch, without the balancing terms
    balance_loss: float  # the balancing terms, weighted by their coefficients
    grad_norm: float  # before clipping
    expert_load: list[list[float]]  # MoE layers x experts; 1.0 is an even share
    max_vio: list[float]  # per MoE layer: the largest load above the even share, 0 when perfectly even
    router_entropy: list[float]  # per MoE layer, nats: of the experts' mean normalised scores
    max_qk_logit: list[list[float]] | None  # layers x heads; None without QK-clip
    evaluation: Evaluation | None
    interventions: tuple[Intervention, ...] = ()  # what the caller changed from this step on

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"interventions": [each.to_dict() for each in self.interventions]}


class StepLog:
    """`steps.jsonl` in the folder of a run: one line of JSON per record."""

    def __init__(self, run_dir: Path, keep_steps: int):
        """Begin the log with its first `keep_steps` lines; later ones come from steps that no checkpoint has."""
        self._path = run_dir / "steps.jsonl"
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        atomic.write_text(self._path, "".join(line + "\n" for line in lines[:keep_steps]))

    def write(self, record: StepRecord) -> None:
        """Append the record's line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record.to_dict(), allow_nan=False) + "\n")
