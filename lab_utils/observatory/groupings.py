"""Ways to put the tokens of a text into classes: by word, by place in the word, by role where the text has roles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from lab_utils.observatory.specimen import Specimen
from lab_utils.observatory.word_classes import POSITIONS, WORD_CLASSES, classify
from nanokimi.system.printable import quote
from nanokimi.text.corpus import ROLES

# For every token the number of its class, and the names of the classes.
Grouping = tuple[Int[np.ndarray, " tokens"], tuple[str, ...]]


def group_tokens(specimen: Specimen, n_windows: int) -> dict[str, Grouping]:
    """The classes of the tokens in the first windows of the validation text, a grouping per way."""
    corpus = specimen.corpus
    tokens, index = (found.flatten() for found in specimen.text(n_windows))
    found = classify(corpus.tokenizer, tokens.tolist(), specimen.lexicon)
    ways: dict[str, Grouping] = {
        "word class": (found.word_class, WORD_CLASSES),
        "place in the word": (found.position, POSITIONS),
    }
    if corpus.val.roles is not None:
        places = index.numpy()
        for name, at in (("role of the token read", places), ("role of the token predicted", places + 1)):
            ways[name] = (corpus.val.roles[at].astype(np.int64), ROLES)
    return ways


def find_grouping(ways: Mapping[str, Grouping], by: str) -> Grouping:
    """The grouping `by`; `ValueError` where the text has none of that name."""
    if by not in ways:
        raise ValueError(
            f"by={quote(by)} is no way to group tokens of this text; choose one of: {', '.join(ways)}"
        )
    return ways[by]
