"""Questions about the facts of an almanac: a question is a sentence, and its answer is the value that it ends with.

The model reads a sentence with others in rows, as in training. No fact comes twice, so nothing can be copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tiktoken

from nanokimi.abilities.questions import NOTHING, Probes, line_up, mark_tokens
from nanokimi.text.corpus import ROLES
from nanokimi.text.storyworld.almanac import FACTS, N_PHRASINGS, Almanac, Telling, held_out_phrasing
from nanokimi.text.tokenizer import token_bytes


def choose_tellings(book: Almanac, held_out: bool, seed: int = 0) -> list[Telling]:
    """Every fact once, in random order: in its held-out phrasing, or in one of the others, drawn at random."""
    rng = np.random.default_rng(seed)
    tellings = []
    for who in range(len(book.world.characters)):
        for fact in FACTS:
            step = 0 if held_out else int(rng.integers(1, N_PHRASINGS))
            tellings.append(Telling(who, fact, (held_out_phrasing(who, fact) + step) % N_PHRASINGS))
    return [tellings[i] for i in rng.permutation(len(tellings))]


def make_probes(
    book: Almanac, tellings: Sequence[Telling], tokenizer: tiktoken.Encoding, seq_len: int
) -> Probes:
    """The questions in rows of at most `seq_len` + 1 tokens; the rest of a row is `<|endoftext|>` and asks nothing.

    `ValueError` for a sentence that is longer than a row.
    """
    sizes, fact, newline = token_bytes(tokenizer), ROLES.index("fact"), tokenizer.encode_ordinary("\n")
    rows: list[list[int]] = [[]]
    marks: list[list[int]] = [[]]
    for number, telling in enumerate(tellings):
        story = book.tell(telling)
        ids = tokenizer.encode_ordinary(story.text)
        asked = mark_tokens(np.where(story.roles == fact, number, NOTHING), story.text.encode(), sizes[ids])
        if len(ids) > seq_len:
            raise ValueError(f"seq_len={seq_len} is below the {len(ids)} tokens of {story.text!r}")
        if len(rows[-1]) + len(ids) > seq_len + 1:
            rows.append([])
            marks.append([])
        rows[-1] += [*ids, *newline]
        marks[-1] += [*asked.tolist(), *[NOTHING] * len(newline)]
    return line_up(rows, marks, len(tellings), tokenizer.n_vocab - 1, seq_len)
