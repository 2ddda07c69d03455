"""The text in two halves: stories stay whole, and every token knows its word and what was read before it."""

from dataclasses import replace

import numpy as np
import pytest

from lab_utils.observatory.passage import FEWEST, read_passage
from nanokimi.text import tokenizer
from tests.observatory.made_up_passage import passage

STORY = "Martha's cat sat."


def read(n_stories: int, window: int = 8):
    encoding = tokenizer.char([STORY])
    one = [*encoding.encode_ordinary(STORY), encoding.eot_token]
    return read_passage(encoding, one * n_stories, window, {}), len(one)


def test_a_story_is_one_part_with_its_end_and_half_of_the_stories_are_tested():
    found, length = read(2 * FEWEST)
    assert found.part.tolist() == [story for story in range(14) for _ in range(length)]
    assert found.tested.tolist() == [i >= 7 * length for i in range(14 * length)]
    assert found.unit == ("story", "stories")


def test_a_text_of_few_stories_is_counted_by_windows():
    found, length = read(2 * FEWEST - 1)
    assert found.part.tolist() == [i // 8 for i in range(13 * length)]
    assert found.unit == ("window", "windows")


@pytest.mark.parametrize(("n", "tested"), [(1, 0), (2, 1), (3, 1), (4, 2), (15, 7)])
def test_never_more_than_half_is_tested(n, tested):
    text = passage(*["ab"] * n)
    assert len(set(text.part[text.tested].tolist())) == tested


def test_words_and_tokens():
    found, length = read(2)
    assert "".join(found.texts[: length - 1]) == STORY and found.texts[length - 1] == "<|endoftext|>"
    # Without its 's, so that a claim about Martha fits Martha's too; the blank is a word of its own here.
    assert found.words[:8] == ("Martha",) * 8
    assert found.words[8:13] == (" ", "cat", "cat", "cat", " ")
    assert found.words[length - 2 : length + 1] == (".", "\n", "Martha")


def test_the_text_before_is_that_of_the_window_against_slices():
    text = replace(passage("abcdefghij"), window=4)
    expected = ["abcdefghij"[i // 4 * 4 : i] for i in range(10)]
    assert text.texts_before() == expected == ["", "a", "ab", "abc", "", "e", "ef", "efg", "", "i"]


def test_the_passage_of_a_model_is_the_text_it_was_routed_on(watch):
    corpus, n = watch.specimen.corpus, 6 * 8
    tokens = corpus.val.tokens[:n].tolist()
    ends = [token == corpus.tokenizer.eot_token for token in tokens]
    assert watch.passage.window == 8 and len(watch.passage.texts) == n
    assert [text == "<|endoftext|>" for text in watch.passage.texts] == ends
    assert np.array_equal(watch.passage.part, np.arange(n) // 8)
