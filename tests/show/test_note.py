"""Sentences in a notebook: what stands between backticks is code there, and a text has them as they are."""

import pytest

from lab_utils.show.colours import BLUE
from lab_utils.show.note import Note, Sentence, with_code, write_step
from tests.live.made_up_runs import record


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


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (50, "step 50 of 2,000, loss 1.23, about 390 s left"),
        (1999, "step 1,999 of 2,000, loss 1.23"),
    ],
)
def test_a_training_says_where_it_is_and_how_long_it_still_takes(step, says):
    assert write_step(record(step, n_steps=2000, loss=1.234, seconds=10.0)) == says
