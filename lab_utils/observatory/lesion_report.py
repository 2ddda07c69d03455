"""What a lesion did, side by side: the loss by role, and what the model writes with and without the experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from textwrap import fill

import tiktoken
import torch

from lab_utils.observatory.lesions import Loss, without_experts
from lab_utils.show.table import Table
from nanokimi.generate import generate
from nanokimi.kimi import Kimi


@dataclass(frozen=True)
class Continuation:
    """One prompt continued greedily by the whole model and by the lesioned one; equal up to `same` characters."""

    prompt: str
    whole: str
    lesioned: str

    @property
    def same(self) -> int:
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self.whole, self.lesioned)))


@dataclass(frozen=True)
class LesionReport:
    """The two losses and the two texts."""

    off: str  # as the reader wrote it
    whole: Loss
    lesioned: Loss
    continuation: Continuation

    @property
    def table(self) -> Table:
        """A row per role of the predicted token; the difference is what the lesion costs."""
        cost = self.lesioned.minus(self.whole)
        rows = [
            [role, f"{before:.3f}", f"{self.lesioned.by_role[role]:.3f}", f"{cost[role]:+.3f}"]
            for role, before in self.whole.by_role.items()
        ]
        heads = ["predicting", "whole", f"without {self.off}", "cost"]
        return Table.of(heads, rows, "loss in nats per token; layer:expert")

    def __repr__(self) -> str:
        text = self.continuation
        parts = [fill(f"{name}: {text.prompt} | {new}", 100) for name, new in self._texts()]
        return "\n\n".join([str(self.table), *parts])

    def _repr_html_(self) -> str:
        same = self.continuation.same
        columns = "".join(
            f'<div style="flex:1 1 20em;max-width:34em"><b>{escape(name)}</b><p>{escape(self.continuation.prompt)}'
            f" <b>|</b> {escape(new[:same])}<u>{escape(new[same:])}</u></p></div>"
            for name, new in self._texts()
        )
        note = "<p>Underlined: from the first letter that differs.</p>"
        return f'{self.table._repr_html_()}<div style="display:flex;flex-wrap:wrap;gap:2em">{columns}</div>{note}'

    def _texts(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return ("whole", self.continuation.whole), (f"without {self.off}", self.continuation.lesioned)


def continue_both(
    model: Kimi, encoding: tiktoken.Encoding, ids: Sequence[int], new_tokens: int, off: dict[int, list[int]]
) -> Continuation:
    """The likeliest next token again and again, with all experts and without those in `off`."""

    def write() -> str:
        new = list(generate(model, ids, new_tokens, temperature=0.0, stop_id=encoding.eot_token))
        return encoding.decode(new)

    with torch.no_grad():
        whole = write()
        with without_experts(model, off):
            lesioned = write()
    return Continuation(encoding.decode(list(ids)), whole, lesioned)
