"""How much a model knows: the share of facts, and the bits that it keeps per parameter.

Literature: a language model keeps at most about 2 bits of knowledge per parameter, which takes 1,000 exposures of each
fact; after 100 exposures it is about 1 (Allen-Zhu and Li 2024, Physics of Language Models, part 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nanokimi.abilities.almanac import choose_tellings, make_probes
from nanokimi.abilities.questions import Answers, OnRows, ask
from nanokimi.config import TrainConfig
from nanokimi.model import Model
from nanokimi.system.real_numbers import Number, PositiveOrZero, Share
from nanokimi.system.whole_numbers import Count
from nanokimi.text.corpus import Corpus
from nanokimi.text.storyworld.almanac import Almanac, value_bits


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a model knows of `n_facts` facts, each asked once.

    known: the share of facts whose value greedy decoding writes, every token of it, after the words before it.
    probability: the mean over all facts of p(value | the words before it): the share that sampling would write.
    bits: the bits that the model keeps, summed over all facts. Of one fact they are log2(n) - log2(1 / p(value)), where
        n is how many values this fact can have: the bits by which the model is less surprised than somebody who knows
        nothing but the list of values. 0 for a model that guesses evenly among these, log2(n) for one that is certain
        and right, below 0 for one that does not know the list or is certain and wrong. What the model keeps of the
        names, of the lists and of the phrasings is not counted, so this is a lower bound.
    all_bits: the bits of all facts, the most that `bits` can be.
    """

    n_facts: Count
    known: Share
    probability: PositiveOrZero
    bits: Number
    all_bits: PositiveOrZero


def summarise(answers: Answers, bits_of_facts: Sequence[float]) -> Knowledge:
    """The knowledge that these answers show; `bits_of_facts` has log2(n) of each question's fact."""
    assert len(answers.nats) == len(answers.right) == len(bits_of_facts)
    all_bits = math.fsum(bits_of_facts)
    return Knowledge(
        n_facts=len(bits_of_facts),
        known=float(answers.right.mean()),
        probability=math.fsum(math.exp(-nats) for nats in answers.nats) / len(bits_of_facts),
        bits=all_bits - math.fsum(answers.nats) / math.log(2),
        all_bits=all_bits,
    )


def measure_knowledge(
    model: Model,
    corpus: Corpus,
    book: Almanac,
    cfg: TrainConfig,
    held_out: bool,
    on_rows: OnRows = lambda *_: None,
) -> Knowledge:
    """What the model knows of all facts of `book`, asked in phrasings that pages have, or in those held out."""
    tellings = choose_tellings(book, held_out)
    probes = make_probes(book, tellings, corpus.tokenizer, cfg.seq_len)
    return summarise(ask(model, probes, cfg, on_rows), [value_bits(telling.fact) for telling in tellings])
