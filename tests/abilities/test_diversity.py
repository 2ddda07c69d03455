"""Variety, counted by hand."""

import pytest

from nanokimi.abilities.diversity import measure_diversity


def test_counted_by_hand():
    """10 words, of which a, cat, sat, on and mat are different; a comma ends no run, and a text does."""
    found = measure_diversity(["A cat sat on a mat.", "a cat, sat on"])
    assert (found.n_texts, found.n_words) == (2, 10)
    assert found.words == pytest.approx(5 / 10)
    assert found.runs == pytest.approx(3 / 4)  # a cat sat on, cat sat on a, sat on a mat; and the first again
    assert found.texts == 1.0


def test_one_who_says_the_same_thing_always_has_no_variety():
    found = measure_diversity(["one two three four five"] * 10)
    assert found.words == pytest.approx(5 / 50)
    assert found.runs == pytest.approx(2 / 20)
    assert found.texts == pytest.approx(1 / 10)


@pytest.mark.parametrize("texts", [[], [""], ["?!", ""]])
def test_texts_without_words_have_none(texts):
    found = measure_diversity(texts)
    assert (found.n_words, found.words, found.runs) == (0, 0.0, 0.0)
