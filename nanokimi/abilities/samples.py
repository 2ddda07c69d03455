"""Texts that a model writes by itself, and as many that people or the grammar wrote and no training has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nanokimi.cache import PaddedCache, StateCache, new_layer_cache
from nanokimi.model import Model, attentions, takes_padding
from nanokimi.text.corpus import Corpus

LONGEST = 256  # tokens of a text whose documents have any length


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The tokens of a text without its separator. `ended`: the text came to its end, and was not cut."""

    tokens: tuple[int, ...]
    ended: bool


def end_of(corpus: Corpus) -> int:
    """The token that separates documents."""
    return corpus.tokenizer.n_vocab - 1


def held_out(corpus: Corpus, n: int, longest: int | None) -> list[Sample]:
    """The first `n` documents of the validation text, or fewer; longer ones come in pieces of `longest` tokens."""
    found, end = list[Sample](), end_of(corpus)
    ends = np.flatnonzero(corpus.val.tokens == end).tolist()
    for start, stop in zip([0, *(each + 1 for each in ends)], [*ends, len(corpus.val)]):
        size = stop - start if longest is None else longest
        for at in range(start, stop, max(1, size)):
            if len(found) == n:
                return found
            piece = corpus.val.tokens[at : min(at + size, stop)].tolist()
            found.append(Sample(tokens=tuple(piece), ended=at + size >= stop < len(corpus.val)))
    return found


@torch.inference_mode()
def write(
    model: Model,
    end: int,
    n: int,
    longest: int,
    seed: int,
    on_token: Callable[[int], object] = lambda _: None,
) -> list[Sample]:
    """`n` texts drawn from the model as it is, at temperature 1, each after a separator, of at most `longest` tokens.

    One seed gives the same texts. Each token runs through the model once; when the context is full, the older half is
    forgotten, as in `generate`. `on_token` hears after each token of all texts how many there are.
    """
    generator = torch.Generator().manual_seed(seed)
    device, context = next(model.parameters()).device, model.cfg.max_seq_len
    can_drop = takes_padding(model)
    texts, rows = [[end] for _ in range(n)], list(range(n))  # rows: the texts that have a row in the cache
    cache, newest = [], 1
    for done in range(1, longest + 2):  # the last one may be the separator
        if not cache or cache[0].length == context:
            padding = [0] * len(rows)
            cache = [new_layer_cache(name, padding if can_drop else (), device) for name in attentions(model)]
            newest = max(1, context // 2)
        new = torch.tensor([texts[i][-newest:] for i in rows], device=device)
        probs = model(new, cache).logits[:, -1].float().softmax(-1).cpu()
        for i, token in zip(rows, torch.multinomial(probs, 1, generator=generator)[:, 0].tolist()):
            texts[i].append(token)
        newest = 1
        on_token(done)
        going = [place for place, i in enumerate(rows) if end not in texts[i][1:]]
        if not going:
            break
        if can_drop and len(going) < len(rows):
            for layer in cache:
                assert isinstance(layer, PaddedCache | StateCache)
                layer.keep(torch.tensor(going, device=device))
            rows = [rows[place] for place in going]
    return [_cut(text[1:], end, longest) for text in texts]


def _cut(tokens: list[int], end: int, longest: int) -> Sample:
    """The tokens up to the separator; behind it stands what a row that is never dropped has gone on with."""
    size = tokens.index(end) if end in tokens else len(tokens)
    return Sample(tokens=tuple(tokens[: min(size, longest)]), ended=end in tokens)


def cut_alike(
    some: Sequence[Sample], others: Sequence[Sample]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The tokens of both, each pair cut to the length of the shorter one, so that counts can be compared."""
    pairs = [(one.tokens, other.tokens) for one, other in zip(some, others)]
    sizes = [min(map(len, pair)) for pair in pairs]
    return [a[:size] for (a, _), size in zip(pairs, sizes)], [b[:size] for (_, b), size in zip(pairs, sizes)]
