"""How varied texts are: the share of their words, and of their runs of words, that have not come before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nanokimi.system.real_numbers import Share
from nanokimi.system.whole_numbers import CountOrZero

WORD = re.compile(r"\w+")
RUN = 4  # words


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Of `n_texts` texts with `n_words` words together.

    words, runs, texts: the number of different words, runs of `RUN` words and whole texts, as a share of all of them.
    They fall as texts grow longer or more, so compare texts of one number and length. 0 where there are none.
    """

    n_texts: CountOrZero
    n_words: CountOrZero
    words: Share
    runs: Share
    texts: Share


def measure_diversity(texts: Sequence[str]) -> Diversity:
    """The variety of these texts together; a run does not go from one text to the next."""
    split = [WORD.findall(text.lower()) for text in texts]
    words = [word for each in split for word in each]
    runs = [tuple(each[at : at + RUN]) for each in split for at in range(len(each) - RUN + 1)]
    return Diversity(
        n_texts=len(texts),
        n_words=len(words),
        words=_share(words),
        runs=_share(runs),
        texts=_share(texts),
    )


def _share(items: Sequence[object]) -> float:
    return len(set(items)) / max(1, len(items))
