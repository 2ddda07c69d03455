"""The numbers behind the panel's six pictures, taken from what it remembers of its trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab_utils.live.history import RunHistory, XAxis
from nanokimi.evaluate import Evaluation
from nanokimi.text.corpus import Corpus

KEPT_EVALUATIONS = 120
DEAD_BELOW = 0.01  # of an even share, over the recent steps


def find_dead_experts(load: np.ndarray) -> list[tuple[int, int]]:
    """(row, expert) of every cell below a hundredth of an even share."""
    return [(int(row), int(expert)) for row, expert in np.argwhere(load < DEAD_BELOW)]


def measure_bits_per_nat(corpus: Corpus) -> float:
    """The factor from nats per token to bits per byte on the validation text: 1 / (ln 2 · mean bytes per token)."""
    counts = np.bincount(corpus.val.tokens, minlength=len(corpus.token_bytes))
    mean_bytes = float(counts @ corpus.token_bytes.numpy()) / counts.sum()
    return 1 / (math.log(2) * mean_bytes)


@dataclass(frozen=True, eq=False)
class Line:
    """A curve with its name; `arm` gives it its style where it has one, `index` tells layers and roles apart."""

    name: str
    x: np.ndarray
    y: np.ndarray
    arm: str = ""
    index: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class PanelData:
    """The numbers of the six pictures; losses in bits per byte."""

    axis: XAxis
    training: list[Line]
    validation: list[Line]
    floor: float | None
    roles: list[Line]
    roles_of: str
    marks: list[tuple[float, str, str]]  # place on the x axis, numbers of the interventions there, arm
    router_of: str  # the name of the training whose router is shown; empty without one
    layers: list[int]  # their numbers in the model
    load: np.ndarray | None
    dead: list[tuple[int, int]]
    max_vio: list[Line]
    entropy: list[Line]
    even_entropy: float | None  # ln E, that of an even router
    router_marks: list[tuple[float, str]]
    logits_of: str
    logits: list[list[float]]  # layers x heads
    tau: float | None


def collect_panel_data(histories: Sequence[RunHistory], bits: float, axis: XAxis = "tokens") -> PanelData:
    """What to show of these trainings. `bits` is `measure_bits_per_nat` of the corpus."""
    begun = [history for history in histories if history.last]
    router = next((h for h in reversed(begun) if h.load() is not None), None)
    logits = next((h for h in reversed(begun) if h.last.max_qk_logit is not None), None)
    roles = next((h for h in reversed(begun) if h.evaluations and h.evaluations[-1].evaluation.by_role), None)
    floors = [
        record.evaluation.floor_bits_per_byte for history in begun for record in history.evaluations[-1:]
    ]
    load = None if router is None else router.load()

    def per_layer(what: Literal["max_vio", "router_entropy"]) -> list[Line]:
        if router is None:
            return []
        return [
            Line(f"layer {router.first_layer + i}", router.x(axis), router.curve(what, i), index=i)
            for i in range(router.n_layers)
        ]

    return PanelData(
        axis=axis,
        training=[Line(h.name, h.x(axis), bits * h.curve("loss"), h.arm) for h in begun],
        validation=[_make_line(h, axis, h.name, lambda e: e.bits_per_byte) for h in begun if h.evaluations],
        floor=next((floor for floor in floors if floor is not None), None),
        roles=[] if roles is None else _make_role_lines(roles, axis),
        roles_of="" if roles is None else roles.name,
        marks=[(x, numbers, h.arm) for h in begun for x, numbers in place_marks(h, axis)],
        router_of="" if router is None else router.name,
        layers=[] if router is None else [router.first_layer + i for i in range(router.n_layers)],
        load=load,
        dead=[] if load is None else find_dead_experts(load),
        max_vio=per_layer("max_vio"),
        entropy=per_layer("router_entropy"),
        even_entropy=None if load is None else math.log(load.shape[1]),
        router_marks=[] if router is None else place_marks(router, axis),
        logits_of="" if logits is None else logits.name,
        logits=[] if logits is None else logits.last.max_qk_logit,
        tau=None if logits is None else logits.tau,
    )


def place_marks(history: RunHistory, axis: XAxis) -> list[tuple[float, str]]:
    """Where on the x axis interventions were made, with their numbers; those before one step share a mark: `1, 2`."""
    found: dict[float, list[str]] = {}
    for mark in history.marks:
        found.setdefault(float(getattr(mark, axis)), []).append(str(mark.number))
    return [(x, ", ".join(numbers)) for x, numbers in found.items()]


def _make_line(
    history: RunHistory, axis: XAxis, name: str, value: Callable[[Evaluation], float], index: int = 0
) -> Line:
    """The line of `value` over the evaluations, of which at most KEPT_EVALUATIONS are shown, the last one included."""
    n = len(history.evaluations)
    chosen = np.unique(np.linspace(0, n - 1, min(n, KEPT_EVALUATIONS)).round().astype(int))
    records = [history.evaluations[i] for i in chosen]
    x = np.array([getattr(record, axis) for record in records], dtype=float)
    y = np.array([value(record.evaluation) for record in records], dtype=float)
    return Line(name, x, y, history.arm, index)


def _make_role_lines(history: RunHistory, axis: XAxis) -> list[Line]:
    roles = list(history.evaluations[-1].evaluation.by_role)
    return [
        _make_line(history, axis, role, lambda e, role=role: e.by_role[role].bits_per_byte, i)
        for i, role in enumerate(roles)
    ]
