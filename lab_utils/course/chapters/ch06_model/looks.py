"""How layers and models of notebook 06 are looked at: what they return, the router's facts, and gradients."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Parts, Problem
from lab_utils.show.words import kind_of, plural
from nanokimi.config import MoEConfig
from nanokimi.router import RouterStats


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def routing_parts(stats: RouterStats | None) -> Parts:
    """What the choice was made from, and the choice without its order: every expert's weight, 0 where not chosen."""
    if stats is None:
        return {}
    return {
        "router logits": stats.logits.detach(),
        "router scores": stats.scores.detach(),
        "weights by expert": torch.zeros_like(stats.scores)
        .scatter(-1, stats.expert_idx, stats.weights)
        .detach(),
    }


def values_of(returned: Any, kind: type, n: int, says: str) -> tuple:
    """What a forward returned, if it is `n` values in a `kind`; a `Problem` that says what they should be if not."""
    if not isinstance(returned, kind) or len(returned) != n:
        if isinstance(returned, tuple):
            found = plural(len(returned), "value")
        else:
            found = "nothing" if returned is None else kind_of(returned)
        raise Problem(f"forward returns {found}; it should return {says}.")
    return returned


def send_gradients(output: Tensor, *routing: RouterStats | None) -> None:
    """Gradients from the output, and from what balancing reads of the router; every entry has another weight."""
    facts = [t for stats in routing if isinstance(stats, RouterStats) for t in (stats.logits, stats.scores)]
    sums = [(t * torch.arange(t.numel()).view_as(t).sin()).sum() for t in (output, *facts)]
    total = torch.stack(sums).sum()
    if total.requires_grad:
        total.backward()


def gradients_of(**leaves: Tensor) -> Parts:
    return {
        f"gradient of {name}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in leaves.items()
    }


def check_untouched(x: Tensor, before: Tensor) -> None:
    if not torch.equal(x, before):
        raise Problem("forward writes into its argument x, which belongs to the caller.")


def moe_config(**changes: Any) -> MoEConfig:
    return replace(
        MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=3, routed_scaling_factor=2.5), **changes
    )
