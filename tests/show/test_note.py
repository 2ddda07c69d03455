"""Sentences in a notebook: what stands between backticks is code there, and a text has them as they are."""

import pytest

from lab_utils.show.colours import BLUE
from lab_utils.show.note import Note, Sentence, with_code


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("no `y`, no `b`", "no <code>y</code>, no <code>b</code>"),
        ("`x < 1` & `<b>`", "<code>x &lt; 1</code> &amp; <code>&lt;b&gt;</code>"),
        ("one ` alone", "one ` alone"),
        ("two `` beside each other", "two `` beside each other"),
        ("`cut\nin two`", "`cut\nin two`"),
    ],
)
def test_code_is_code_in_html(text, html):
    assert with_code(text) == html


@pytest.mark.parametrize("made", [Note("the `q`", BLUE), Sentence("the `q`")])
def test_a_text_keeps_its_backticks(made):
    assert repr(made) == "the `q`" and "the <code>q</code>" in made._repr_html_()
