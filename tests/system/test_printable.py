"""What a terminal would obey is escaped; what a person reads stays."""

import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanokimi.system.printable import escape_text, one_line, quote, show_every_letter


def acts(c: str) -> bool:
    """Whether a terminal obeys the character, by Unicode's own data: a control, or a mark of direction."""
    turns = unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    marks = c in "\u061c\u200e\u200f"
    return unicodedata.category(c) in ("Cc", "Cs") or turns or marks


@pytest.mark.parametrize(
    "letters",
    [range(0x3000), pytest.param(range(0x3000, 0x110000), marks=pytest.mark.slow)],
    ids=["all scripts up to CJK", "all others"],
)
def test_exactly_what_acts_is_escaped(letters):
    for c in map(chr, letters):
        shown = escape_text(c)
        if acts(c) and c not in "\n\t":
            assert shown.isascii() and shown.isprintable() and len(shown) >= 2
        else:
            assert shown == c


@pytest.mark.parametrize(
    "text", ["क्‍ष", "👩‍👩‍👧", "a\u00a0b\u2003c\u3000d", "שלום", "e\u0301", "\ufeff", "\u00ad"]
)
def test_letters_joiners_and_spaces_stay(text):
    assert escape_text(text) == text
    assert quote(text) == f"'{text}'"


@given(st.text(st.characters(), max_size=300))
def test_a_value_in_a_line_is_one_short_line_that_acts_on_nothing(text):
    for shown in (quote(text), one_line(text), quote([text, {text: text}])):
        assert not any(acts(c) for c in shown) and len(shown.splitlines()) <= 1
    assert len(quote(text)) <= 162


@pytest.mark.parametrize(
    "value",
    [10**5000, [10**5000], "x" * 10**6, list(range(10**6)), {"a": "b" * 9999}, object()],
    ids=["number", "numbers", "text", "list", "dict", "object"],
)
def test_any_value_is_short(value):
    assert len(quote(value)) <= 162


def test_both_ends_of_a_long_message_are_kept():
    shown = one_line("what " + "x" * 10_000 + " do this")
    assert quote("/a/folder/" + "x" * 1000 + "/notes.txt").endswith("/notes.txt'")
    assert len(shown) == 600 and shown.startswith("what ") and shown.endswith(" do this")


def test_a_terminal_without_a_letter_gets_its_escape(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    show_every_letter()
    print("naïve →", flush=True)
    assert stream.buffer.getvalue() == b"na\\xefve \\u2192\n"
