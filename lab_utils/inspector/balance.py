"""The balance loss: it is 1 when the experts are evenly used, grows towards collapse, and moves the router."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.inspector.answer import Routing
from lab_utils.inspector.finding import Finding, amount, does_not_apply, join_names
from lab_utils.inspector.routing import BATCH, NO_ROUTER, where
from lab_utils.inspector.subject import Subject
from lab_utils.show.words import plural
from nanokimi.router import RouterStats

NAME = "balance loss"


def probe_balance_loss(subject: Subject, loss: Callable[[Any], Tensor]) -> Finding:
    """Whether `loss` is 1 at even routing, never smaller towards collapse, E / K there, and moves the router.

    The values come from made-up facts of 4 experts, the gradient from the module's own facts.
    """
    model, x = subject.fresh(), subject.inputs(BATCH, subject.seq_len)
    layers = subject.run(model, x).routing
    if not layers:
        return does_not_apply(NAME, NO_ROUTER)
    if not all(feeds_a_loss(layer) for layer in layers):
        return does_not_apply(NAME, "Its router reports no logits and scores, so no loss can be computed.")
    curve = {}
    for top_k in (1, 2):
        curve[top_k] = [
            (skew, float(loss(_make_facts(top_k, skew)))) for skew in (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 100.0)
        ]
    data = {"curve": curve}
    if problem := _find_value_problem(curve):
        return Finding(NAME, False, problem, data)
    reached = []
    for layer in layers:
        with torch.enable_grad():
            value = loss(layer.stats)
        moved = _find_moved(value, layer.layer)
        if moved is None:
            return Finding(NAME, False, f"{where(layer)}the loss of its own facts carries no gradient.", data)
        if not moved and layer.layer is not None:
            return Finding(
                NAME,
                False,
                f"{where(layer)}the loss moves no parameter of the layer: its router is cut off.",
                data,
            )
        reached += moved
    names = (
        join_names(sorted(set(reached))) + f" in {plural(len(layers), 'layer')}" if reached else "the router"
    )
    collapsed = [curve[top_k][-1][1] for top_k in (1, 2)]
    return Finding(
        NAME,
        True,
        f"With 4 experts it is {curve[1][0][1]:.3f} when even, {collapsed[0]:.2f} collapsed at K = 1 and "
        f"{collapsed[1]:.2f} at K = 2, never below 1 between; its gradient reaches {names}.",
        data,
    )


def feeds_a_loss(layer: Routing) -> bool:
    """Whether the facts have logits and scores, from which balance losses are computed."""
    return all(isinstance(getattr(layer.stats, name, None), Tensor) for name in ("logits", "scores"))


def _find_value_problem(curve: dict[int, list[tuple[float, float]]]) -> str:
    """What is wrong with the values over the skew, as a sentence; empty where they are right."""
    n_experts = 4
    for top_k, points in curve.items():
        even, collapsed = points[0][1], points[-1][1]
        if not abs(even - 1) < 1e-4:
            return f"Even routing of 4 experts at K = {top_k} gives {amount(even)}, and 1 is right."
        skew, least = min(points, key=lambda point: point[1])
        if not least > 1 - 1e-4:
            return (
                f"It is smaller away from even routing: {amount(least)} at a skew of {skew:g} (K = {top_k})."
            )
        if not abs(collapsed - n_experts / top_k) < 1e-3:
            return (
                f"Collapse of 4 experts at K = {top_k} gives {amount(collapsed)}, and E / K = {n_experts // top_k} "
                "is right."
            )
    return ""


def _make_facts(top_k: int, skew: float) -> RouterStats:
    """Facts of a router of 4 experts for 2 x 8 tokens. The logits favour the first K experts by `skew`; 0 is even."""
    n_experts, seq_len = 4, 8
    favoured = torch.full((n_experts,), -skew)
    favoured[:top_k] = skew
    logits = favoured.expand(2, seq_len, n_experts).clone()
    turn = torch.arange(seq_len)[:, None] * top_k + torch.arange(top_k)
    # At a skew of 0 all experts are equally good, and the tokens take turns.
    chosen = (turn % n_experts if skew == 0 else torch.arange(top_k).expand(seq_len, top_k)).expand(2, -1, -1)
    scores = logits.softmax(dim=-1) if top_k > 1 else logits.sigmoid()
    weights = scores.gather(-1, chosen)
    return RouterStats(logits, scores, chosen.contiguous(), weights / weights.sum(dim=-1, keepdim=True))


def _find_moved(value: Tensor, layer: nn.Module | None) -> list[str] | None:
    """The names of the layer's parameters that get a gradient from `value`; None where it carries no gradient."""
    if not value.requires_grad:
        return None
    if layer is None:
        return []
    named = [(name, p) for name, p in layer.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(value, [p for _, p in named], allow_unused=True)
    return [name for (name, _), grad in zip(named, grads) if grad is not None and grad.count_nonzero()]
