"""The token strip, as HTML, as a figure and for plotly: all say the same, and text stays text."""

import re
from html import unescape

import pytest
import torch

from lab_utils.observatory.look import look
from lab_utils.observatory.plotly import strip_plotly
from lab_utils.observatory.plots import draw_strip
from lab_utils.observatory.token_strip import decode_token, make_visible, read_token_facts, write_strip
from lab_utils.show.snapshot import Snapshot
from nanokimi.text import tokenizer
from tests.observatory.made_up_facts import SCRIPT, Tags, fact


def test_sentence_by_hand():
    assert fact(" cat").sentence() == (
        "␣cat: expert 2 (weight 0.750), expert 0 (weight 0.250); runner-up expert 1, behind by 0.125"
    )
    assert fact(runner_up=None).sentence().endswith("expert 0 (weight 0.250); no runner-up")


def test_facts_are_those_of_the_routing(watch):
    facts = watch.facts("The cat", 2)
    ids = watch.specimen.corpus.tokenizer.encode_ordinary("The cat")
    routing = look(watch.specimen.model, torch.tensor([ids])).layer(2)
    assert [f.text for f in facts] == list("The cat")
    for i, found in enumerate(facts):
        assert found.experts == tuple(routing.experts[i]) and found.runner_up == routing.runner_up[i]
        assert found.weights == pytest.approx(routing.weights[i]) and found.margin == routing.margin[i]


def test_token_facts_have_a_token_each(watch):
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    found = read_token_facts(look(watch.specimen.model, tokens), 1, watch.specimen.corpus.tokenizer)
    assert len(found) == 6


def test_a_strip_of_markup_is_text(watch):
    html = write_strip(watch.facts(SCRIPT, 1), 'a "label" <i>')
    found = Tags(html)
    assert set(found.tags) == {"style", "div", "span", "sub"}
    assert found.labels[0] == 'a "label" <i>'
    boxes = re.findall(r'">([^<]*)<sub>', html)
    assert "".join(unescape(box) for box in boxes).replace("␣", " ") == SCRIPT
    assert html.count('tabindex="0"') == len(SCRIPT)


def test_the_strip_says_the_same_by_hover_and_by_focus(watch):
    facts = watch.facts("cat", 1)
    found = Tags(write_strip(facts, "x"))
    assert found.labels[1:] == [f.sentence() for f in facts]
    assert all(f.sentence() in found.text for f in facts)


def test_invisible_characters_are_seen():
    assert make_visible("a b\n\t\x00\u200b") == "a␣b⏎⇥\\x00\\u200b"


def test_tokens_that_are_no_whole_character():
    encoding = tokenizer.train_bpe(["abc"], 257)
    e_acute = encoding.encode_ordinary("é")
    assert [decode_token(encoding, t) for t in e_acute] == ["\\xc3", "\\xa9"]
    assert decode_token(encoding, encoding.eot_token) == "<|endoftext|>"


def test_the_drawn_strip_shows_every_token_even_those_that_the_font_lacks():
    figure = draw_strip([fact("$x$"), fact("中"), fact("<b>"), fact("a" * 200)], 3)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[::2] == ["$x$", "\\u4e2d", "<b>", "a" * 23 + "…"]
    assert words[1] == "#2 .75"
    assert Snapshot(figure, "x").png.startswith(b"\x89PNG")  # a formula in a token would fail here


def test_hover_text_is_the_tokens_own_and_escaped(watch):
    facts = watch.facts(SCRIPT, 1)
    data = strip_plotly(facts, 1)["data"][0]
    assert [unescape(text) for text in data["hovertext"]] == [f.sentence() for f in facts]
    assert not any("<" in text for text in data["hovertext"])
    assert "".join(unescape(text.partition("<br>")[0]) for text in data["text"]).replace("␣", " ") == SCRIPT
    assert (
        data["hovertemplate"] == "%{hovertext}<extra></extra>"
    )  # texts are data, never part of the template
    assert len(set(zip(data["x"], data["y"]))) == len(facts)
