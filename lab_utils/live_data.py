"""What a running training was like so far, in bounded memory, and the numbers behind the panel's pictures."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from nanokimi.corpus import Corpus
from nanokimi.steering import Intervention
from nanokimi.train import StepRecord

KEPT_ROWS = 240  # points of a curve; a longer run is averaged, not dropped
KEPT_EVALUATIONS = 120
RECENT_STEPS = 10
DEAD_BELOW = 0.01  # of an even share, over the recent steps
XAxis = Literal["tokens", "seconds"]


class Thinned:
    """A growing series of rows of which at most `capacity` are kept: means over runs of 1, 2, 4 ... rows.

    When it is full, neighbours are averaged in pairs. So every row keeps its weight, and memory and drawing time
    stay bounded however long the training is.
    """

    def __init__(self, capacity: int = KEPT_ROWS):
        assert capacity >= 2 and capacity % 2 == 0
        self._capacity, self._run = capacity, 1
        self._rows: list[np.ndarray] = []
        self._open: list[np.ndarray] = []

    def add(self, row: Sequence[float]) -> None:
        self._open.append(np.asarray(row, dtype=float))
        if len(self._open) < self._run:
            return
        self._rows.append(np.mean(self._open, axis=0))
        self._open = []
        if len(self._rows) == self._capacity:
            self._rows = [(a + b) / 2 for a, b in zip(self._rows[::2], self._rows[1::2])]
            self._run *= 2

    def rows(self) -> np.ndarray:
        """Rows x numbers, the last one of what is not full yet."""
        unfinished = [np.mean(self._open, axis=0)] if self._open else []
        return np.array(self._rows + unfinished)


@dataclass(frozen=True)
class Mark:
    """An intervention where it happened."""

    number: int
    step: int
    tokens: int
    seconds: float
    text: str


class RunHistory:
    """One training as the panel remembers it."""

    def __init__(self, name: str, arm: str, first_layer: int = 0, tau: float | None = None):
        self.name, self.arm, self.first_layer, self.tau = name, arm, first_layer, tau
        self.last: StepRecord | None = None
        self.marks: list[Mark] = []
        self.evaluations: list[StepRecord] = []
        self.sample: str = ""
        self._rows = Thinned()
        self._loads: deque[list[list[float]]] = deque(maxlen=RECENT_STEPS)
        self._speeds: deque[float] = deque(maxlen=2 * RECENT_STEPS)

    def add(self, record: StepRecord, first_mark: int) -> None:
        """Take a record in; its interventions are numbered from `first_mark`."""
        self.last = record
        flat_load = [x for layer in record.expert_load for x in layer]
        head = (record.step, record.tokens, record.seconds, record.loss)
        self._rows.add((*head, *record.max_vio, *record.router_entropy, *flat_load))
        self._speeds.append(record.tokens_per_s)
        if record.expert_load:
            self._loads.append(record.expert_load)
        if record.evaluation is not None:
            self.evaluations.append(record)
        for number, each in enumerate(record.interventions, start=first_mark):
            self.marks.append(Mark(number, record.step, record.tokens, record.seconds, in_words(each)))

    @property
    def n_layers(self) -> int:
        """Layers with a router."""
        return len(self.last.max_vio) if self.last else 0

    def curve(self, what: Literal["loss", "max_vio", "router_entropy"], layer: int = 0) -> np.ndarray:
        column = {"loss": 3, "max_vio": 4, "router_entropy": 4 + self.n_layers}[what]
        return self._rows.rows()[:, column + layer]

    def x(self, axis: XAxis) -> np.ndarray:
        return self._rows.rows()[:, 1 if axis == "tokens" else 2]

    def load(self) -> np.ndarray | None:
        """Layers x experts over the recent steps, 1.0 = even; None for a model without experts."""
        return np.mean(self._loads, axis=0) if self._loads else None

    def frames(self, n: int) -> list[tuple[int, np.ndarray]]:
        """At most `n` (step, load) over the whole training, evenly spaced, the last one included."""
        if not self._loads:
            return []
        rows = self._rows.rows()
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))
        loads = rows[:, 4 + 2 * self.n_layers :]
        return [(round(rows[i, 0]), loads[i].reshape(self.n_layers, -1)) for i in chosen]

    def tokens_per_s(self) -> float:
        """The median of the recent steps: one slow step is no news."""
        return median(self._speeds)

    def seconds_left(self) -> float:
        """For the remaining steps, at the recent speed."""
        tokens = self.last.tokens / self.last.step * (self.last.n_steps - self.last.step)
        return tokens / self.tokens_per_s()


def in_words(each: Intervention) -> str:
    """An intervention as a person would say it."""
    if each.what == "frozen_experts":
        names = ", ".join(f"{layer}:{expert}" for layer, expert in each.value)
        return f"frozen experts: {names}" if names else "no expert frozen"
    if each.what == "inference_top_k":
        return (
            "top-k at inference as in training" if each.value is None else f"top-k at inference {each.value}"
        )
    name = {
        "lr_factor": "learning rate ×",
        "switch_coef": "load-balance loss",
        "sequence_coef": "sequence balance loss",
        "bias_update_rate": "bias update",
    }[each.what]
    return f"{name} {'off' if not each.value else format(each.value, '.3g')}"


def dead_experts(load: np.ndarray) -> list[tuple[int, int]]:
    """(row, expert) of every cell below a hundredth of an even share."""
    return [(int(row), int(expert)) for row, expert in np.argwhere(load < DEAD_BELOW)]


def bits_per_nat(corpus: Corpus) -> float:
    """What turns nats a token into bits a byte on this corpus's validation text: 1 / (ln 2 · mean bytes a token)."""
    counts = np.bincount(corpus.val.tokens, minlength=len(corpus.token_bytes))
    mean_bytes = float(counts @ corpus.token_bytes.numpy()) / counts.sum()
    return 1 / (math.log(2) * mean_bytes)


# ---------------------------------------------------------------- what the pictures show


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
    """The numbers of the six pictures; losses in bits a byte."""

    axis: XAxis
    training: list[Line]
    validation: list[Line]
    floor: float | None
    roles: list[Line]
    roles_of: str
    marks: list[tuple[float, str, str]]  # where on the x axis, the numbers of those made there, of which arm
    router_of: str  # the name of the training whose router is shown; empty without one
    layers: list[int]  # their numbers in the model
    load: np.ndarray | None
    dead: list[tuple[int, int]]
    max_vio: list[Line]
    entropy: list[Line]
    even_entropy: float | None  # of an even router: ln E
    router_marks: list[tuple[float, str]]
    logits_of: str
    logits: list[list[float]]  # layers x heads
    tau: float | None


def panel_data(histories: Sequence[RunHistory], bits: float, axis: XAxis = "tokens") -> PanelData:
    """From what is remembered to what is shown. `bits` is `bits_per_nat` of the corpus."""
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
        validation=[_evaluated(h, axis, h.name, lambda e: e.bits_per_byte) for h in begun if h.evaluations],
        floor=next((floor for floor in floors if floor is not None), None),
        roles=[] if roles is None else _role_lines(roles, axis),
        roles_of="" if roles is None else roles.name,
        marks=[(x, numbers, h.arm) for h in begun for x, numbers in marked(h, axis)],
        router_of="" if router is None else router.name,
        layers=[] if router is None else [router.first_layer + i for i in range(router.n_layers)],
        load=load,
        dead=[] if load is None else dead_experts(load),
        max_vio=per_layer("max_vio"),
        entropy=per_layer("router_entropy"),
        even_entropy=None if load is None else math.log(load.shape[1]),
        router_marks=[] if router is None else marked(router, axis),
        logits_of="" if logits is None else logits.name,
        logits=[] if logits is None else logits.last.max_qk_logit,
        tau=None if logits is None else logits.tau,
    )


def marked(history: RunHistory, axis: XAxis) -> list[tuple[float, str]]:
    """Where interventions were made, with their numbers; those before one step share a mark: `1, 2`."""
    found: dict[float, list[str]] = {}
    for mark in history.marks:
        found.setdefault(float(getattr(mark, axis)), []).append(str(mark.number))
    return [(x, ", ".join(numbers)) for x, numbers in found.items()]


def _evaluated(history: RunHistory, axis: XAxis, name: str, value, index: int = 0) -> Line:
    """A quantity of the evaluations, of which at most KEPT_EVALUATIONS are shown, the last one included."""
    n = len(history.evaluations)
    chosen = np.unique(np.linspace(0, n - 1, min(n, KEPT_EVALUATIONS)).round().astype(int))
    records = [history.evaluations[i] for i in chosen]
    x = np.array([getattr(record, axis) for record in records], dtype=float)
    y = np.array([value(record.evaluation) for record in records], dtype=float)
    return Line(name, x, y, history.arm, index)


def _role_lines(history: RunHistory, axis: XAxis) -> list[Line]:
    roles = list(history.evaluations[-1].evaluation.by_role)
    return [
        _evaluated(history, axis, role, lambda e, role=role: e.by_role[role].bits_per_byte, i)
        for i, role in enumerate(roles)
    ]


def time_in_words(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
