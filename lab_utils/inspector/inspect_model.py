"""The invariant inspector: ask any module or function what every sound model must answer, in one table.

    inspect_model(model)                                   # the core's, or one of your own
    inspect_model(layer, d_model=64)                       # one layer
    inspect_model(lambda x: x.cumsum(1), d_model=4)        # a plain function

Each row is one of `lab_utils.probes`; it passes, fails or does not apply, with the evidence beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

import torch
from torch import Tensor

from lab_utils.inspector import balance, causality, parameters, routing, sequence
from lab_utils.inspector.finding import Finding, ask
from lab_utils.inspector.subject import Subject, as_subject
from lab_utils.show.snapshot import Snapshot
from nanokimi.router import load_balance_loss

RUNS = "runs at all"
# Okabe and Ito's; the sign and the word beside them say the same.
MARKS = {"pass": ("✓", "#009E73"), "FAIL": ("✗", "#D55E00"), "does not apply": ("–", "#8a93a3")}
INK, QUIET, PAPER, RULE = "#1d2433", "#5b6475", "#ffffff", "#dfe3ea"
TEXT_WIDTH = 110


@dataclass(frozen=True)
class Inspection:
    """The findings about one module, in the order in which they were asked for."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(finding.name for finding in self.findings if finding.passed is False)

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r} is none of {', '.join(finding.name for finding in self.findings)}")

    def causality_picture(self) -> Snapshot | None:
        """Who sees whom, as a heat map; None where the module could not be asked."""
        for finding in self.findings:
            if "reach" in finding.data:
                return causality.causality_picture(finding.data["reach"])
        return None

    def __repr__(self) -> str:
        name_width = max(len(finding.name) for finding in self.findings)
        head = f"{'':2}{'invariant':{name_width}}  {'result':14}  evidence"
        indent = len(head) - len("evidence")
        lines = [self.headline(), "", head, "─" * TEXT_WIDTH]
        for finding in self.findings:
            first, *rest = wrap(finding.evidence, TEXT_WIDTH - indent, break_on_hyphens=False) or [""]
            mark = MARKS[finding.verdict][0]
            lines.append(f"{mark} {finding.name:{name_width}}  {finding.verdict:14}  {first}")
            lines += [" " * indent + line for line in rest]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The table, and the heat map in a fold that is open where causality failed. All text is escaped."""
        cell = f"text-align:left;vertical-align:top;padding:.35em .7em;border-bottom:1px solid {RULE}"
        heads = "".join(
            f'<th scope="col" style="{cell};color:{QUIET};font-weight:normal">{head}</th>'
            for head in ("invariant", "evidence")
        )
        rows = "".join(_row(finding, cell) for finding in self.findings)
        return (
            f'<div style="border:1px solid {RULE};border-radius:4px;padding:.6em .9em;max-width:60em;color:{INK};'
            f'background:{PAPER};overflow-x:auto"><b>{escape(self.headline())}</b>'
            '<table style="border-collapse:collapse;margin-top:.4em;width:100%;font-size:.95em;'
            f'background:{PAPER};color:{INK}"><thead><tr style="background:{PAPER}">{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table>{self._fold()}</div>"
        )

    def headline(self) -> str:
        """`Kimi: 9 of 9 invariants hold, 1 does not apply`."""
        asked = [finding for finding in self.findings if finding.passed is not None]
        rest = len(self.findings) - len(asked)
        held = len(asked) - len(self.failed)
        idle = f", {rest} {'does' if rest == 1 else 'do'} not apply" if rest else ""
        return f"{self.subject}: {held} of {len(asked)} invariants hold{idle}"

    def _fold(self) -> str:
        picture = self.causality_picture()
        if picture is None:
            return ""
        opened = " open" if causality.NAME in self.failed else ""
        shown = picture.html().replace("<img ", '<img style="max-width:100%" ', 1)
        return f'<details{opened} style="margin-top:.5em"><summary>Who sees whom</summary>{shown}</details>'


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
    """Probe a module or function that maps tokens (batch, seq) or vectors (batch, seq, d_model) to a vector a token.

    The module is copied, never called or changed, and the same seed gives the same table. What it takes is found
    by trying; `d_model` or `vocab_size` settle it. `optimizers` are those that will train it, `balance_loss` takes
    its router's facts, `cache_elements(n)` is how many numbers a sequence of n tokens may keep, and `new_cache`
    makes an empty cache where the module does not say how. A plain function is called as it is.
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
        return Inspection(name, (Finding(RUNS, False, f"It could not be asked: {error}."),))
    probes = _probes(subject, optimizers, balance_loss, cache_elements)
    return Inspection(name, tuple(ask(what, probe) for what, probe in probes))


def _probes(
    subject: Subject,
    optimizers: Sequence[torch.optim.Optimizer],
    balance_loss: Callable[[Any], Tensor],
    cache_elements: Callable[[int], int] | None,
) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield causality.NAME, lambda: causality.causality(subject)
    yield sequence.PREFIX, lambda: sequence.prefix_consistency(subject)
    yield sequence.CACHED, lambda: sequence.cached_decode(subject)
    yield sequence.ABSORBED, lambda: sequence.absorbed_is_naive(subject)
    yield sequence.CACHE_SIZE, lambda: sequence.cache_size(subject, cache_elements)
    yield routing.K_EXPERTS, lambda: routing.k_experts(subject)
    yield routing.NO_DROPS, lambda: routing.no_dropped_tokens(subject)
    yield routing.BIAS, lambda: routing.bias_steers_only(subject)
    yield balance.NAME, lambda: balance.even_is_least(subject, balance_loss)
    yield (
        parameters.NAME,
        lambda: parameters.parameters_learn(subject, optimizers, balance_loss),
    )


def _row(finding: Finding, cell: str) -> str:
    mark, colour = MARKS[finding.verdict]
    weight = "bold" if finding.passed is False else "normal"
    # Name and verdict in one column: three do not fit on a phone.
    return (
        f'<tr style="background:{PAPER}"><th scope="row" style="{cell};font-weight:{weight}">{escape(finding.name)}<br>'
        f'<span style="color:{colour}">{mark}</span> {finding.verdict}</th>'
        f'<td style="{cell}">{escape(finding.evidence)}</td></tr>'
    )
