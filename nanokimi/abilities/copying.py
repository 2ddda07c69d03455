"""How well a model copies a word that stands further up in the story, by how far up that is.

A copied word is one whose letters are all copies (a role of the storyworld: a name, an object or a fact that returns)
and that stands in this story before. Its distance is how many tokens it stands after the last time. Pronouns and
articles are left out: they follow a word more than they return.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nanokimi.abilities.questions import NOTHING, Answers, OnRows, Probes, ask, line_up, mark_tokens
from nanokimi.abilities.samples import end_of
from nanokimi.config import TrainConfig
from nanokimi.model import Model
from nanokimi.system.real_numbers import Number, Share
from nanokimi.system.whole_numbers import Count, CountOrZero
from nanokimi.text.corpus import ROLES, Corpus
from nanokimi.text.storyworld.english import PRONOUNS

LIMITS = (1, 17, 33, 65, 129)  # the distances at which a new bin begins
N_STORIES = 128
WORD = re.compile(rb"[A-Za-z]+(?:-[A-Za-z]+)*")
LEFT_OUT = {word.encode() for word in (*PRONOUNS, *PRONOUNS.values(), "a", "an")}


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The copied words with a distance of `first` to `last` tokens; `last` is None for all that are further.

    known: the share of words whose every token is the likeliest. nats: the mean -ln p(word). Both are None where there
    is no word.
    """

    first: Count
    last: Count | None
    n_words: CountOrZero
    known: Share | None
    nats: Number | None


def measure_copying(
    model: Model, corpus: Corpus, cfg: TrainConfig, on_rows: OnRows = lambda *_: None
) -> tuple[Copied, ...]:
    """How the model copies in the first `N_STORIES` stories of the validation text, as far as `cfg.seq_len` reaches."""
    probes, distances = find_copies(corpus, N_STORIES, cfg.seq_len)
    return summarise(ask(model, probes, cfg, on_rows), distances)


def find_copies(corpus: Corpus, n_stories: int, seq_len: int) -> tuple[Probes, list[int]]:
    """A row per story, which asks for every copied word, and the distance of each word."""
    assert corpus.val.roles is not None
    end, distances = end_of(corpus), list[int]()
    rows, marks = list[list[int]](), list[list[int]]()
    ends = np.flatnonzero(corpus.val.tokens == end)[:n_stories]
    for start, stop in zip([0, *(ends[:-1] + 1)], ends):
        ids, roles = corpus.val.tokens[start:stop].tolist(), corpus.val.roles[start:stop]
        sizes = corpus.token_bytes[ids].numpy()
        text = corpus.tokenizer.decode_bytes(ids)
        owner = np.repeat(np.arange(len(ids)), sizes)  # the token of each byte
        is_copy = roles[owner] == ROLES.index("copy")
        asked, seen = np.full(len(text), NOTHING), dict[bytes, int]()
        for match in WORD.finditer(text):
            word, letters = match[0].lower(), slice(*match.span())
            first, last = (int(owner[at]) for at in (match.start(), match.end() - 1))
            if word in seen and word not in LEFT_OUT and is_copy[letters].all() and last < seq_len:
                asked[letters] = len(distances)
                distances.append(first - seen[word])
            seen[word] = first
        rows.append([end, *ids])
        marks.append([NOTHING, *mark_tokens(asked, text, sizes).tolist()])
    longest = min(max(map(len, rows)), seq_len + 1)
    return line_up(rows, marks, len(distances), end, longest - 1), distances


def summarise(answers: Answers, distances: Sequence[int]) -> tuple[Copied, ...]:
    """The answers in bins of distance."""
    far = np.array(distances)
    bins = []
    for first, after in zip(LIMITS, [*LIMITS[1:], None]):
        mine = (far >= first) & (True if after is None else far < after)
        some = bool(mine.any())
        bins.append(
            Copied(
                first=first,
                last=None if after is None else after - 1,
                n_words=int(mine.sum()),
                known=float(answers.right[mine].mean()) if some else None,
                nats=float(answers.nats[mine].mean()) if some else None,
            )
        )
    return tuple(bins)
