"""Texts that models write, against `generate` and against scripts; held-out texts, cut by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nanokimi.abilities.samples import Sample, cut_alike, end_of, held_out, write
from nanokimi.generate import generate
from nanokimi.model import build_model
from nanokimi.text.corpus import Split
from tests import tiny
from tests.abilities.scripted import Scripted

END = tiny.VOCAB - 1


@pytest.mark.parametrize("name", tiny.MODELS)
def test_one_text_is_what_generate_writes(name):
    """Past the context of 16 tokens too, where the older half is forgotten."""
    model = tiny.harsh_(build_model(tiny.model_config(name)), std=0.2).eval()
    for seed in range(2):
        (found,) = write(model, END, 1, 60, seed)
        expected = list(generate(model, [END], 60, seed=seed, stop_id=END))
        assert list(found.tokens) == expected
        assert found.ended or len(expected) == 60


def counts_on(begun: tuple[int, ...]) -> dict[int, float]:
    """After a first token r from 1 to 6 come r more, each one higher, and the end."""
    if not begun:
        return {r: 1.0 for r in range(1, 7)}
    return {END: 1.0} if len(begun) > begun[0] else {begun[-1] + 1: 1.0}


def test_texts_that_end_at_different_times_stay_apart():
    """Rows leave the batch one by one; those that stay go on with their own text."""
    model = Scripted(tiny.VOCAB, counts_on)
    found = write(model, END, 40, 30, seed=1)
    assert {len(each.tokens) for each in found} == set(range(2, 8))
    for each in found:
        first = each.tokens[0]
        assert each == Sample(tokens=tuple(range(first, 2 * first + 1)), ended=True)
    assert write(model, END, 40, 30, seed=1) == found != write(model, END, 40, 30, seed=2)


def test_a_text_that_does_not_end_is_cut():
    found = write(Scripted(tiny.VOCAB, lambda begun: {3: 1.0}), END, 2, 5, seed=0)
    assert found == [Sample(tokens=(3,) * 5, ended=False)] * 2
    # One that ends just where it would be cut has ended.
    found = write(Scripted(tiny.VOCAB, lambda begun: {END if len(begun) == 5 else 3: 1.0}), END, 2, 5, seed=0)
    assert found == [Sample(tokens=(3,) * 5, ended=True)] * 2


def test_tokens_are_drawn_as_often_as_the_model_says():
    """Of 4,000 texts 70 % begin with 3; five standard deviations are 3.6 %."""
    found = write(
        Scripted(tiny.VOCAB, lambda begun: {END: 1.0} if begun else {3: 0.7, 4: 0.3}), END, 4000, 9, 0
    )
    assert sum(each.tokens == (3,) for each in found) / 4000 == pytest.approx(0.7, abs=0.036)


@pytest.fixture
def corpus():
    made = tiny.corpus()
    end = end_of(made)
    val = np.array([1, 2, 3, end, 4, end, end, 5, 6, 7, 8, 9, end, 2, 2], dtype=np.uint16)
    return replace(made, val=Split(tokens=val))


def sample(*tokens: int, ended: bool = True) -> Sample:
    return Sample(tokens=tokens, ended=ended)


def test_held_out_documents(corpus):
    whole = [sample(1, 2, 3), sample(4), sample(5, 6, 7, 8, 9), sample(2, 2, ended=False)]
    assert held_out(corpus, 10, None) == whole
    assert held_out(corpus, 2, None) == whole[:2]
    pieces = held_out(corpus, 10, 2)
    assert pieces == [
        sample(1, 2, ended=False),
        sample(3),
        sample(4),
        sample(5, 6, ended=False),
        sample(7, 8, ended=False),
        sample(9),
        sample(2, 2, ended=False),
    ]


def test_pairs_are_cut_to_the_shorter_one():
    found = cut_alike([sample(1, 2, 3), sample(4)], [sample(5), sample(6, 7, 8), sample(9)])
    assert found == ([(1,), (4,)], [(5,), (6,)])


def test_no_gradient_is_kept():
    model = build_model(tiny.gpt())
    write(model, END, 2, 3, seed=0)
    assert all(p.grad is None for p in model.parameters()) and torch.is_grad_enabled()
