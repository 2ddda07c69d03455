"""A reader's hypothesis about one expert, tested on text that the reader has not seen: figures and a verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from lab_utils.observatory.agreement import Agreement, measure_p_value
from lab_utils.observatory.claims import as_claim
from lab_utils.observatory.look import LayerRouting
from lab_utils.observatory.passage import FEWEST, Passage
from lab_utils.observatory.token_strip import make_visible
from lab_utils.show.table import Table
from lab_utils.show.words import plural

# From here on chance does as well in at most one of a hundred tests. Who tests a hundred claims will find one.
RARE = 0.01


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The token that agrees most often, how often it does, and the agreement of all other tokens."""

    text: str
    both: int
    others: Agreement


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """What was claimed of an expert, and how it agrees with the tokens of the tested half."""

    layer: int
    expert: int
    says: str
    agreement: Agreement
    kind: Kind | None  # None where fewer than two kinds of token are both
    p_value: float
    parts: int
    parts_that_fit: int  # that have a token which fits
    parts_chosen: int  # that have a token of the expert
    unit: tuple[str, str]

    @property
    def score(self) -> float:
        """From 0, chance or worse, to 100; see `Agreement.score`."""
        return self.agreement.score

    @property
    def verdict(self) -> str:
        """One line in plain words: better than chance, no better, or too few tokens to tell."""
        found = self.agreement
        if self.parts_that_fit < FEWEST:
            return self._too_few(
                f"{found.fits:,} {'fits' if found.fits == 1 else 'fit'}", self.parts_that_fit
            )
        if self.parts_chosen < FEWEST:
            verb = "goes" if found.chosen == 1 else "go"
            return self._too_few(f"{found.chosen:,} {verb} to the expert", self.parts_chosen)
        better = "better than chance" if self.p_value <= RARE else "no better than chance"
        return (
            f"{better}: {found.precision:.0%} of the expert's tokens fit, and {found.fits / found.tokens:.0%} of all "
            f"tokens; score {self.score:.0f} of 100, p = {self.p_value:.2g}"
        )

    def _too_few(self, what: str, parts: int) -> str:
        return f"too few tokens to tell: {what}, in {plural(parts, *self.unit)}; {FEWEST} are needed"

    @property
    def table(self) -> Table:
        """Every figure beside what chance gives."""
        found = self.agreement
        fits, chosen = found.fits / found.tokens, found.chosen / found.tokens
        rows = [
            ["tokens that fit", f"{found.fits:,} of {found.tokens:,}", ""],
            ["tokens that go to the expert", f"{found.chosen:,} of {found.tokens:,}", ""],
            ["both", f"{found.both:,}", f"{found.tokens * fits * chosen:,.0f}"],
            ["precision: of the expert's tokens, fit", f"{found.precision:.1%}", f"{fits:.1%}"],
            ["recall: of the tokens that fit, go to the expert", f"{found.recall:.1%}", f"{chosen:.1%}"],
            ["lift", f"{found.lift:.2f}", "1.00"],
            ["score: Matthews' correlation, times 100", f"{self.score:.0f}", "0"],
        ]
        if self.kind:
            label = f"score without {make_visible(self.kind.text)}, which is {self.kind.both:,} of the {found.both:,}"
            rows.append([label, f"{self.kind.others.score:.0f}", "0"])
        rows.append(["p: chance does as well", f"{self.p_value:.2g}", ""])
        shown = [[name, *("–" if cell.startswith("nan") else cell for cell in row)] for name, *row in rows]
        where = (
            f"layer {self.layer}, expert {self.expert}, on {plural(self.parts, *self.unit)} not shown before"
        )
        return Table.of(["", "measured", "by chance"], shown, f"{where}: {self.says}")

    def __repr__(self) -> str:
        return f"{self.table}\n\n{self.verdict}"

    def _repr_html_(self) -> str:
        return f"{self.table._repr_html_()}<p><b>{escape(self.verdict)}</b></p>"


def try_claim(routing: LayerRouting, expert: int, claim: Any, passage: Passage) -> Hypothesis:
    """The claim about an expert of one layer on the tested half of the passage, whose tokens that layer routed.

    `claim` is a `Claim`, or a function of a token and the text before it. A `ValueError` of one line says which expert
    does not exist, why the claim cannot be tested, or that the text is too short for two halves.
    """
    stated, chosen, tested = as_claim(claim), routing.goes_to(expert), passage.tested
    if not tested.any():
        raise ValueError(f"the text has one {passage.unit[0]}, and two halves need two: look at more windows")
    fits, chosen = stated.fits(passage)[tested], chosen[tested]
    part, texts = passage.part[tested], np.array(passage.texts, dtype=object)[tested]
    both = Counter(texts[fits & chosen].tolist()).most_common()
    kind = None
    if len(both) > 1:
        (text, times), others = both[0], texts != both[0][0]
        kind = Kind(text=text, both=times, others=Agreement.of(fits[others], chosen[others]))
    return Hypothesis(
        layer=routing.layer,
        expert=expert,
        says=stated.says,
        agreement=Agreement.of(fits, chosen),
        kind=kind,
        p_value=measure_p_value(fits, chosen, part),
        parts=len(set(part.tolist())),
        parts_that_fit=len(set(part[fits].tolist())),
        parts_chosen=len(set(part[chosen].tolist())),
        unit=passage.unit,
    )
