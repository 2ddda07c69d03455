"""How well two yes-or-no facts of the same tokens agree, against chance: a score, and a test that counts stories."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

DRAWS = 9_999


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of `tokens` tokens a claim fits `fits`, an expert is chosen for `chosen`, and `both` are both."""

    tokens: int
    fits: int
    chosen: int
    both: int

    @classmethod
    def of(cls, fits: Bool[np.ndarray, " tokens"], chosen: Bool[np.ndarray, " tokens"]) -> Agreement:
        return cls(
            tokens=len(fits),
            fits=int(fits.sum()),
            chosen=int(chosen.sum()),
            both=int((fits & chosen).sum()),
        )

    @property
    def precision(self) -> float:
        """The share of the expert's tokens that fit; by chance `fits / tokens`. nan without a token of the expert."""
        return self.both / self.chosen if self.chosen else math.nan

    @property
    def recall(self) -> float:
        """The share of the fitting tokens that go to the expert; by chance `chosen / tokens`. nan where none fits."""
        return self.both / self.fits if self.fits else math.nan

    @property
    def lift(self) -> float:
        """Precision against chance, which is recall against chance, 1.0 = chance; nan where one of them is."""
        return self.both * self.tokens / (self.fits * self.chosen) if self.fits and self.chosen else math.nan

    @property
    def correlation(self) -> float:
        """Matthews' correlation of the two facts: 1 = they are the same, 0 = chance, -1 = opposite.

        It is 0 where the claim fits no token or every token, or the expert is chosen for none or all: then one fact
        says nothing about the other. (Matthews 1975; Chicco and Jurman 2020 compare it with accuracy and F1, which
        a claim of everything can raise.)
        """
        n, fits, chosen = self.tokens, self.fits, self.chosen
        spread = fits * (n - fits) * chosen * (n - chosen)
        return (n * self.both - fits * chosen) / math.sqrt(spread) if spread else 0.0

    @property
    def score(self) -> float:
        """100 times the correlation: 100 = the claim fits the expert's tokens and no others, 0 = chance or worse."""
        return 100 * max(0.0, self.correlation)


def measure_p_value(
    fits: Bool[np.ndarray, " tokens"],
    chosen: Bool[np.ndarray, " tokens"],
    part: Int[np.ndarray, " tokens"],
    seed: int = 0,
) -> float:
    """How often chance alone agrees as well as `fits` and `chosen` do: one-sided, at least 1 / (DRAWS + 1).

    **Tokens are no independent trials.** A story repeats its words: a hero's name stands in it ten times, and goes to
    the same expert each time. A test that counts tokens takes these ten for ten confirmations, and calls chance a
    finding. Stories are independent of each other, so the test counts stories. Each has its share of the covariance
    of the two facts, `sum((fits - mean fits) * (chosen - mean chosen))` over its tokens. If the claim says nothing
    about the expert, the share of a story is above zero as easily as below. So the test gives every share a random
    sign, again and again, and counts how often the sum is at least as large as the measured one.

    This is the test by changes of sign (Canay, Romano and Shaikh 2017, *Randomization Tests under an Approximate
    Symmetry Assumption*). With few fitting tokens the shares are not symmetric, and p is too large rather than too
    small. The measured signs count as one of the draws (Phipson and Smyth 2010), so p is never 0.

    A small p says that the two facts will go together in new stories of this kind. It does not say why: an expert for
    full stops agrees with every class that has the full stop in it. `Hypothesis.kind` shows what is left without it.
    """
    n = len(fits)
    # Times n², so that all are whole numbers and equal sums are equal; n³ fits in 64 bits up to two million tokens.
    product = (n * fits.astype(np.int64) - fits.sum()) * (n * chosen.astype(np.int64) - chosen.sum())
    _, index = np.unique(part, return_inverse=True)
    shares = np.zeros(index.max() + 1, dtype=np.int64)
    np.add.at(shares, index, product)
    signs = np.random.default_rng(seed).integers(0, 2, (DRAWS, len(shares))) * 2 - 1
    return float((1 + (signs @ shares >= shares.sum()).sum()) / (DRAWS + 1))
