"""Stories side by side: what is right and wrong of them, and that a text of a model is never markup."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from lab_utils.bench.stories import (
    N_PROMPTS,
    NO_STORIES,
    PROMPT,
    Stories,
    Story,
    find_beginnings,
    write_stories,
)
from nanokimi.config import DataConfig
from nanokimi.text.corpus import load_corpus
from nanokimi.text.storyworld import Piece

PIECES = (
    Piece("Ann", "name"),
    Piece(" eats ", "text"),
    Piece("soup", "fact", False),
    Piece(", and ", "text"),
    Piece("she", "copy"),
    Piece(" <b>flew", "beyond"),
)


def test_what_is_wrong_is_seen_without_colours_and_a_text_is_no_markup():
    shown = Stories(((Story("kimi", "A", PIECES), Story("<i>", "A", (Piece("Ax", "text"),))),), marked=True)
    assert "kimi: A|nn eats ✗soup✗, and she▸ <b>flew◂" in repr(shown)
    html = shown._repr_html_()
    assert "<b>flew" not in html and "&lt;b&gt;flew" in html and "&lt;i&gt;" in html and "<b>nn</b>" in html
    assert "underlined" in html and "underlined" not in repr(shown)
    assert "kimi: 0 of 1 facts right, 1 of 1 copies right; 1 of 1 stories leave the grammar." in html


def test_what_stands_in_the_prompt_is_not_the_models():
    story = Story("kimi", "Ann eats soup,", PIECES)
    assert story.told == [PIECES[4]] and story.written[0] == Piece(" and ", "text")
    silent = Stories(((Story("kimi", "Ann eats", PIECES[:2]),),), marked=True)
    assert "kimi: no facts told, no copies told; 0 of 1 stories leave the grammar." in repr(silent)


@pytest.mark.parametrize("rows", [(), ((), (), ())], ids=["no beginning", "no model"])
def test_where_nothing_was_written_a_sentence_says_so(rows):
    assert repr(Stories(rows, marked=True)) == Stories(rows, marked=True)._repr_html_() == NO_STORIES


def test_the_beginnings_are_those_of_whole_stories():
    eot = 9
    tokens = np.array([*range(5), eot, *[1] * PROMPT, 2, eot, *[3] * PROMPT, *[4] * 40, eot, 7, 7, eot])
    assert find_beginnings(tokens, eot) == [[1] * PROMPT, [3] * PROMPT]
    assert find_beginnings(np.array([5] * 40), eot) == [[5] * PROMPT]


class Silent(nn.Module):
    """Only its name is needed."""


def test_every_model_goes_on_from_the_same_true_beginnings(monkeypatch):
    data = DataConfig(n_characters=40, n_stories=300, vocab_size=400)
    corpus, asked = load_corpus(data), []

    def end_at_once(model, prompt, n, **settings):
        asked.append(prompt)
        return iter([settings["stop_id"]])

    monkeypatch.setattr("lab_utils.bench.stories.generate", end_at_once)
    stories = write_stories({"one": Silent(), "other": Silent()}, corpus, data)
    assert len(stories.rows) == N_PROMPTS and asked[::2] == asked[1::2]
    for row in stories.rows:
        for story in row:
            assert "".join(piece.words for piece in story.pieces) == story.prompt
            assert all(piece.right and piece.kind != "beyond" for piece in story.pieces), story
    other = write_stories({"one": Silent()}, corpus, replace(data, source="tinystories"))
    assert not other.marked and {piece.kind for row in other.rows for piece in row[0].pieces} == {"text"}
