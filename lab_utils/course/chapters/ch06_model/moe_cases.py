"""What the answers to MoE, of notebook 06, are tried on, and how they are looked at."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lab_utils.course.chapters.ch06_model.looks import (
    check_untouched,
    gradients_of,
    moe_config,
    numbers,
    routing_parts,
    send_gradients,
    values_of,
)
from lab_utils.course.exercise import Case, Parts, copy_weights, harsh_
from nanokimi.config import MoEConfig
from nanokimi.moe import MoE
from nanokimi.router import RouterStats

MOE_RETURNS = "two: y and the router's stats"


def observe_moe(implementation: type, d_model: int, cfg: MoEConfig, x: Tensor, under_autocast: bool) -> Parts:
    made = implementation(d_model, cfg)
    fresh = sum(float(buffer.abs().sum()) for buffer in made.buffers())
    module = copy_weights(harsh_(MoE(d_model, cfg)), made)
    parts: Parts = {"bias at the start": fresh}
    if under_autocast:  # of `y`, which is rounded there, nothing is said
        return parts | routing_parts(_route_under_autocast(module, x))
    leaf = x.clone().requires_grad_()
    y, stats = values_of(module(given := leaf.clone()), tuple, 2, MOE_RETURNS)
    check_untouched(given, leaf)
    send_gradients(y, stats)
    parts = {"y": y.detach()} | parts | routing_parts(stats)
    return parts | gradients_of(x=leaf, **dict(module.named_parameters()))


def _route_under_autocast(module: nn.Module, x: Tensor) -> RouterStats:
    with torch.autocast("cpu", torch.bfloat16):
        try:
            return values_of(module(x), tuple, 2, MOE_RETURNS)[1]
        except RuntimeError:  # `forward` need not run there: `index_add` wants one number format
            return module.route(x)


def moe_cases() -> list[Case]:
    plain = moe_config()
    return [
        Case("one token", (4, plain, numbers(1, 1, 4), False)),
        Case("a batch", (4, plain, numbers(2, 5, 4), False)),
        Case("without a shared expert", (4, replace(plain, n_shared_experts=0), numbers(2, 3, 4), False)),
        Case("two shared experts", (4, replace(plain, n_shared_experts=2), numbers(1, 4, 4), False)),
        Case(
            "softmax scores, K = 1", (6, replace(plain, scoring="softmax", top_k=1), numbers(1, 6, 6), False)
        ),
        Case("large numbers", (4, plain, 30 * numbers(1, 2, 4), False)),
        Case("all experts chosen", (4, replace(plain, top_k=4), numbers(1, 3, 4), False)),
        Case(
            "six experts, of another width",
            (4, replace(plain, n_routed_experts=6, moe_intermediate_size=5), numbers(1, 5, 4), False),
        ),
        Case("under bfloat16 autocast: the router stays in float32", (4, plain, numbers(1, 9, 4), True)),
    ]
