"""What the panel remembers of one training, in bounded memory: a row per step, averaged where there are many."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from nanokimi.record import StepRecord
from nanokimi.steering import Intervention

KEPT_ROWS = 240  # points of a curve; the steps of a longer run are averaged, none is left out
RECENT_STEPS = 10

XAxis = Literal["tokens", "seconds"]


class Thinned:
    """A growing series of rows of which at most `capacity` are kept: means over runs of 1, 2, 4 ... rows.

    When it is full, neighbours are averaged in pairs. So every row counts the same, and memory and drawing time
    stay bounded, however long the training is.
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
        """Rows x numbers; the last row is the mean of a run that is not full yet."""
        unfinished = [np.mean(self._open, axis=0)] if self._open else []
        return np.array(self._rows + unfinished)


@dataclass(frozen=True)
class Mark:
    """An intervention, and when it happened."""

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
        self.compile_seconds = 0.0
        self.marks: list[Mark] = []
        self.evaluations: list[StepRecord] = []
        self.sample: str = ""
        self._rows = Thinned()
        self._loads: deque[list[list[float]]] = deque(maxlen=RECENT_STEPS)
        self._speeds: deque[float] = deque(maxlen=2 * RECENT_STEPS)

    def add(self, record: StepRecord, first_mark: int) -> None:
        """Remember a record; its interventions are numbered from `first_mark`."""
        self.last = record
        self.compile_seconds += record.compile_seconds
        flat_load = [x for layer in record.expert_load for x in layer]
        head = (record.step, record.tokens, record.seconds, record.loss)
        self._rows.add((*head, *record.max_vio, *record.router_entropy, *flat_load))
        self._speeds.append(record.tokens_per_s)
        if record.expert_load:
            self._loads.append(record.expert_load)
        if record.evaluation is not None:
            self.evaluations.append(record)
        for number, each in enumerate(record.interventions, start=first_mark):
            self.marks.append(
                Mark(number, record.step, record.tokens, record.seconds, describe_intervention(each))
            )

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
        """Layers x experts, mean of the recent steps, 1.0 = even; None for a model without experts."""
        return np.mean(self._loads, axis=0) if self._loads else None

    def frames(self, n: int) -> list[tuple[int, np.ndarray]]:
        """At most `n` pairs (step, load) over the whole training, evenly spaced, the last step included."""
        if not self._loads:
            return []
        rows = self._rows.rows()
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))
        loads = rows[:, 4 + 2 * self.n_layers :]
        return [(round(rows[i, 0]), loads[i].reshape(self.n_layers, -1)) for i in chosen]

    def tokens_per_s(self) -> float:
        """The median of the recent steps: one slow step changes little."""
        return median(self._speeds)

    def seconds_left(self) -> float:
        """The time that the remaining steps take at the recent speed."""
        tokens = self.last.tokens / self.last.step * (self.last.n_steps - self.last.step)
        return tokens / self.tokens_per_s()


def describe_intervention(each: Intervention) -> str:
    """An intervention in words: `learning rate × 0.5`."""
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


def write_duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
