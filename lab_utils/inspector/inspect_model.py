"""The invariant inspector: one table that says what holds for a module of what must hold for every sound model.

    inspect_model(model)                                   # the core's, or one of your own
    inspect_model(layer, d_model=64)                       # one layer
    inspect_model(lambda x: x.cumsum(1), d_model=4)        # a plain function

Each row is the finding of one probe: it passes, fails or does not apply, with the evidence beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import Any

import torch
from torch import Tensor

from lab_utils.inspector import balance, causality, parameters, routing, sequence
from lab_utils.inspector.finding import Finding, ask
from lab_utils.inspector.subject import Subject, as_subject
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.table import Table, as_html
from nanokimi.router import load_balance_loss

RUNS = "runs at all"
MARKS = {"pass": "✓", "FAIL": "✗", "does not apply": "–"}
EVIDENCE_WIDTH = 84  # letters, in a terminal


@dataclass(frozen=True)
class Inspection:
    """The findings about one module, in the order of the probes."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no invariant failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the invariants that failed."""
        return tuple(finding.name for finding in self.findings if finding.passed is False)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r} is none of {', '.join(finding.name for finding in self.findings)}")

    def causality_picture(self) -> Snapshot | None:
        """The heat map of which token sees which; None where the module could not be run."""
        for finding in self.findings:
            if "reach" in finding.data:
                return causality.causality_picture(finding.data["reach"])
        return None

    def __repr__(self) -> str:
        table = self._table(lambda evidence: fill(evidence, EVIDENCE_WIDTH, break_on_hyphens=False))
        return f"{self.headline()}\n\n{table}"

    def _repr_html_(self) -> str:
        """The table, and the heat map in a fold that is open where causality failed. All text is escaped."""
        table = as_html(self._table(lambda evidence: evidence))
        return f'<div style="max-width:60em"><b>{escape(self.headline())}</b>{table}{self._fold()}</div>'

    def _table(self, wrap: Callable[[str], str]) -> Table:
        # Name and result in one column: three columns are too wide for a phone.
        rows = [[f"{f.name}\n{MARKS[f.result]} {f.result}", wrap(f.evidence)] for f in self.findings]
        return Table.of(["invariant", "evidence"], rows, words=(0, 1))

    def headline(self) -> str:
        """`Kimi: 9 of 9 invariants hold, 1 does not apply`."""
        applied = [finding for finding in self.findings if finding.passed is not None]
        rest = len(self.findings) - len(applied)
        held = len(applied) - len(self.failed)
        more = f", {rest} {'does' if rest == 1 else 'do'} not apply" if rest else ""
        return f"{self.subject}: {held} of {len(applied)} invariants hold{more}"

    def _fold(self) -> str:
        picture = self.causality_picture()
        if picture is None:
            return ""
        opened = " open" if causality.NAME in self.failed else ""
        style = "margin-top:.5em;overflow-x:auto"
        return f'<details{opened} style="{style}"><summary>Which token sees which</summary>{picture.html()}</details>'


def inspect_model(
    model: Callable[..., Any],
    *,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    balance_loss: Callable[[Any], Tensor] = load_balance_loss,
    cache_elements: Callable[[int], int] | None = None,
    new_cache: Callable[[], Any] | None = None,
    d_model: int | None = None,
    vocab_size: int | None = None,
    seq_len: int | None = None,
    seed: int = 0,
) -> Inspection:
    """The findings about a module or function from tokens (batch, seq) or vectors (batch, seq, d_model) to one vector
    per token.

    The module is copied, never called or changed, and the same seed gives the same table. A plain function is called
    as it is. What it takes is found by trying; `d_model` or `vocab_size` says it. `optimizers` are those that will
    train it, and `balance_loss` takes its router's facts. `cache_elements(n)` is how many numbers may be kept for a
    sequence of n tokens. `new_cache` makes an empty cache where the module does not say how.
    """
    name = (
        type(model).__name__
        if isinstance(model, torch.nn.Module)
        else getattr(model, "__name__", repr(model))
    )
    name = "a function" if name == "<lambda>" else name
    try:
        subject = as_subject(
            model, d_model=d_model, vocab_size=vocab_size, seq_len=seq_len, new_cache=new_cache, seed=seed
        )
    except Exception as error:
        return Inspection(name, (Finding(RUNS, False, f"It could not be run: {error}."),))
    probes = _probes(subject, optimizers, balance_loss, cache_elements)
    return Inspection(name, tuple(ask(what, probe) for what, probe in probes))


def _probes(
    subject: Subject,
    optimizers: Sequence[torch.optim.Optimizer],
    balance_loss: Callable[[Any], Tensor],
    cache_elements: Callable[[int], int] | None,
) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield causality.NAME, lambda: causality.probe_causality(subject)
    yield sequence.PREFIX, lambda: sequence.probe_prefixes(subject)
    yield sequence.CACHED, lambda: sequence.probe_cached_decode(subject)
    yield sequence.ABSORBED, lambda: sequence.probe_absorbed_form(subject)
    yield sequence.CACHE_SIZE, lambda: sequence.probe_cache_size(subject, cache_elements)
    yield routing.K_EXPERTS, lambda: routing.probe_k_experts(subject)
    yield routing.NO_DROPS, lambda: routing.probe_dropped_tokens(subject)
    yield routing.BIAS, lambda: routing.probe_expert_bias(subject)
    yield balance.NAME, lambda: balance.probe_balance_loss(subject, balance_loss)
    yield parameters.NAME, lambda: parameters.probe_parameters(subject, optimizers, balance_loss)
