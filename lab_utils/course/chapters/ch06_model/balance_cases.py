"""What the answers to balance_term, of notebook 06, are tried on, and how they are looked at."""

from typing import Any

from torch import Tensor

from lab_utils.course.chapters.ch06_model.looks import numbers
from lab_utils.course.exercise import Case, Parts, call_with_gradients
from nanokimi.config import BalanceConfig
from nanokimi.router import RouterStats


def terms(implementation: Any, logits: tuple[Tensor, ...], top_k: int, cfg: BalanceConfig) -> Parts:
    """The term and its gradient for the logits of every layer."""

    def of_logits(*layers: Tensor) -> Tensor:
        routing = []
        for each in layers:
            scores = each.sigmoid()
            idx = scores.topk(top_k, dim=-1).indices
            routing.append(RouterStats(each, scores, idx, scores.gather(-1, idx)))
        return implementation(tuple(routing), cfg)

    return call_with_gradients(of_logits, *logits, names=[f"routing[{i}].logits" for i in range(len(logits))])


def balance_cases() -> list[Case]:
    one, other, third = (2 * numbers(2, seq, 4) for seq in (5, 6, 7))
    return [
        Case("nothing switched on", ((one,), 2, BalanceConfig())),
        Case("a dense model", ((), 2, BalanceConfig(switch_coef=1.0))),
        Case("the load-balance loss, one layer", ((one,), 2, BalanceConfig(switch_coef=0.5))),
        Case("the sequence loss, one layer", ((one,), 2, BalanceConfig(sequence_coef=0.5))),
        Case("the z-loss, two layers", ((one, other), 2, BalanceConfig(z_coef=0.1))),
        Case(
            "all three, two layers",
            ((other, one), 1, BalanceConfig(switch_coef=0.3, sequence_coef=0.2, z_coef=0.1)),
        ),
        Case(
            "all three, three layers",
            ((one, other, third), 2, BalanceConfig(switch_coef=0.3, sequence_coef=0.2, z_coef=0.1)),
        ),
        Case("the z-loss, one layer", ((other,), 2, BalanceConfig(z_coef=0.2))),
        Case("the z-loss, a large coefficient", ((other,), 2, BalanceConfig(z_coef=20.0))),
        Case("the sequence loss, two layers", ((one, other), 2, BalanceConfig(sequence_coef=0.4))),
        Case("the bias update is no loss", ((one, other), 2, BalanceConfig(bias_update_rate=0.1))),
    ]
