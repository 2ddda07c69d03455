"""Trainings written by hand, for the panel's tests."""

import math

from lab_utils.live.history import RunHistory
from nanokimi.evaluate import Evaluation, RoleLoss
from nanokimi.record import StepRecord
from nanokimi.steering import Intervention


def record(step: int, load=((2.0, 0.0), (1.0, 1.0)), **changes) -> StepRecord:
    """100 tokens and 2 seconds per step; two layers of two experts, one of them idle in the first layer."""
    facts = dict(
        step=step,
        n_steps=10,
        tokens=100 * step,
        seconds=2.0 * step,
        tokens_per_s=50.0,
        compile_seconds=0.0,
        lr=0.1,
        loss=4.0 - step,
        balance_loss=0.0,
        grad_norm=1.0,
        expert_load=[list(row) for row in load],
        max_vio=[max(row) - 1 for row in load],
        router_entropy=[0.5, 0.7],
        max_qk_logit=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        evaluation=None,
    )
    return StepRecord(**facts | changes)


def evaluation(bits: float) -> Evaluation:
    role = RoleLoss(nats_per_token=1.0, bits_per_byte=bits / 2, floor_bits_per_byte=0.1, n_tokens=5)
    return Evaluation(2 * bits, math.exp(2 * bits), bits, 0.25, 10, {"fact": role})


def history(*records: StepRecord, name: str = "kimi") -> RunHistory:
    made = RunHistory(name, name.partition(",")[0], first_layer=1, tau=100.0)
    for each in records:
        made.add(each, 1 + len(made.marks))
    return made


def both() -> list[RunHistory]:
    steered = (Intervention(2, "lr_factor", 0.5),)
    gpt = history(record(1, load=(), max_vio=[], router_entropy=[], max_qk_logit=None), name="gpt")
    kimi = history(
        *(record(s, evaluation=evaluation(1.0), interventions=steered if s == 2 else ()) for s in (1, 2, 3))
    )
    kimi.sample = "<script>alert(1)</script> & more"
    return [gpt, kimi]
