"""What is told about every step: the record that `train` yields."""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nanokimi.evaluate import Evaluation
from nanokimi.steering import Intervention
from nanokimi.system.refusals import explain


@dataclass(frozen=True)
class StepRecord:
    """The facts of one optimizer step, as plain numbers: bars, panels, logs and reports are made from them."""

    step: int  # from 1
    n_steps: int
    tokens: int  # seen so far
    seconds: float  # of training so far, without evaluating, saving, waiting and the steps that were given up
    tokens_per_s: float  # of this step
    compile_seconds: float  # before this step, for compiling it; in no other number here
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

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "StepRecord":
        """The inverse of `to_dict`; `ValueError`, in one line, for what `to_dict` cannot have written."""
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            raise ValueError(explain(error, cls)) from None
