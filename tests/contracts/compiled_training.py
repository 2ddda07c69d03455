"""Train plain and compiled: `python -m tests.contracts.compiled_training ARM` prints a line of JSON with both.

In a process of its own, because the tests check all shapes at run time, and that cannot be compiled.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch._dynamo.utils import counters

from lab_utils.bench.plan import make_plan
from nanokimi.config import TrainConfig
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.steering import Intervention
from nanokimi.train import train
from tests import tiny

# What a panel can change while a training runs: two of them ask for losses that were off.
STEERED = (
    Intervention(2, "lr_factor", 0.5),
    Intervention(3, "switch_coef", 0.1),
    Intervention(4, "switch_coef", 0.2),
    Intervention(5, "frozen_experts", ((1, 2),)),
    Intervention(5, "bias_update_rate", 0.1),
    Intervention(6, "inference_top_k", 1),
)


def take_records(
    arm: str, interventions: Sequence[Intervention], compile: str
) -> tuple[torch.nn.Module, list[StepRecord]]:
    """The model and all records of a short training of an arm of the profile smoke."""
    plan = make_plan("smoke", "ladder")
    cfg: TrainConfig = replace(
        plan.arm(arm).train,
        steps=6,
        warmup_steps=0,
        batch_size=4,
        eval_every=3,
        eval_windows=4,
        compile=compile,
    )
    model = build_model(plan.arm(arm).model)
    seen: list[int] = []
    # A watcher that no compiler can follow, as that of a benchmark's trial.
    model.register_forward_pre_hook(
        lambda _, args: seen.append(int(args[0].sum())) if torch.is_grad_enabled() else None
    )
    steer = lambda step: [each for each in interventions if each.step == step]
    records = list(train(model, tiny.corpus(), cfg, steer=steer))
    assert len(seen) == 6 * cfg.grad_accum
    return model, records


def compare(arm: str, interventions: Sequence[Intervention]) -> dict[str, Any]:
    """What the two trainings differ in, and how often was compiled."""
    plain, wanted = take_records(arm, interventions, compile="off")
    counters.clear()
    compiled, found = take_records(arm, interventions, compile="on")
    facts = ("loss", "balance_loss", "grad_norm", "expert_load", "max_vio", "router_entropy", "max_qk_logit")
    numbers = [
        [torch.tensor(getattr(r, fact) or 0.0) for r in rs] for rs in (wanted, found) for fact in facts
    ]
    n = len(facts)
    return {
        "graphs": counters["stats"]["unique_graphs"],
        "compiled_at": [r.step for r in found if r.compile_seconds],
        "compile_seconds": sum(r.compile_seconds for r in found),
        "seconds": found[-1].seconds,
        "differences": {
            fact: max((a - b).abs().max().item() if a.numel() else 0.0 for a, b in zip(xs, ys, strict=True))
            for fact, xs, ys in zip(facts, numbers[:n], numbers[n:], strict=True)
        },
        "evaluations": [
            abs(a.evaluation.loss - b.evaluation.loss)
            for a, b in zip(wanted, found, strict=True)
            if a.evaluation
        ],
        "same_names": list(plain.state_dict()) == list(compiled.state_dict()),
    }


if __name__ == "__main__":
    print(json.dumps(compare(sys.argv[1], STEERED if sys.argv[1] != "gpt" else STEERED[:1])))
