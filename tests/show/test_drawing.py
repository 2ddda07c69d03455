"""Drawings: valid XML, words for those who cannot see them, texts that fit, colours that can be read in both themes."""

import base64
import re

import pytest

from lab_utils.show import drawing as module
from lab_utils.show.drawing import DARK, LIGHT, SIZES, Drawing, ink_of, text_width
from lab_utils.site.clean import clean
from tests.show.drawn import assert_readable, boxes, parse, texts

FILLINGS = ("paper", "plain", "attention", "router", "experts")


def luminance(colour: str) -> float:
    """By the definition in WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_each_text_and_each_line_can_be_read_on_each_filling(theme):
    for filling in FILLINGS:
        for ink in {ink_of(look) for look in SIZES} - {"here"}:
            assert contrast(theme[ink], theme[filling]) >= 4.5, (ink, filling)
    for ink in ("here", "run0", "run1", "run2", "run3"):
        assert contrast(theme[ink], theme["paper"]) >= 4.5, ink
    assert contrast(theme["line"], theme["paper"]) >= 3


def test_both_themes_have_the_same_colours_and_the_browser_chooses():
    assert set(LIGHT) == set(DARK)
    svg = Drawing(10, 10, "nothing").svg
    light, dark = svg.split("@media(prefers-color-scheme:dark)")
    assert f"--paper:{LIGHT['paper']}" in light
    assert f"--paper:{DARK['paper']}" in dark
    outside = re.sub(r"--\w+:#\w+;", "", svg)
    assert not re.search(r"#[0-9a-f]{3,6}\b", outside), "a colour that no theme changes"


def test_a_drawing_is_valid_xml_and_its_words_are_escaped():
    sheet = Drawing(200, 60, 'a < b & "c"')
    box = sheet.box(10, 10, 80, 40, [("title", "x < y")], fill="plain")
    sheet.arrow(box.right, (150, 30))
    sheet.curve((0, 0), (9, 9), "run0")
    sheet.note(150, 50, "a & b", anchor="middle")
    sheet.mark(sheet.plus(180, 30), "here")
    root = parse(sheet)
    assert root.find("{http://www.w3.org/2000/svg}title").text == sheet.alt
    assert [text.text for text in texts(sheet)] == ["x < y", "a & b", "here"]
    assert not re.search(r"<script|\bon\w+=|url\((?!#)", sheet.svg)


def test_the_picture_has_its_words_and_passes_the_wall_of_the_site():
    sheet = Drawing(200, 60, 'a < b & "c"')
    data = sheet._repr_mimebundle_()
    assert data["text/plain"] == sheet.alt
    assert 'alt="a &lt; b &amp; &quot;c&quot;"' in data["text/html"]
    picture = re.search(r"base64,([\w+/=]+)", clean(data["text/html"]))[1]
    assert base64.b64decode(picture).decode() == sheet.svg
    assert "overflow-x:auto" in clean(data["text/html"])


def test_a_long_line_is_set_smaller_until_it_fits():
    sheet = Drawing(200, 60, "long")
    sheet.box(10, 10, 80, 40, [("small", "a line that is too long for its box")], fill="plain")
    (text,) = texts(sheet)
    ((left, _, right, _),) = boxes(sheet)
    assert left < text.left and text.right < right
    with pytest.raises(AssertionError):
        assert_readable(sheet)


def test_words_in_the_middle_of_a_box_do_not_leave_it():
    sheet = Drawing(200, 60, "three")
    sheet.box(10, 5, 80, 46, [("title", "one"), ("small", "two"), ("quiet", "three")], fill="plain")
    assert_readable(sheet)
    first, *_, last = texts(sheet)
    assert (first.top + last.bottom) / 2 == pytest.approx(28, abs=1)


def test_the_measure_is_that_of_a_known_font():
    """DejaVu Sans has 2048 units per em; an i takes 569 of them, a bold W 2259."""
    assert text_width("i", "quiet") == pytest.approx(10 * 569 / 2048, rel=0.03)
    assert text_width("W", "title") == pytest.approx(12 * 2259 / 2048, rel=0.03)
    assert module.FONT.startswith('"DejaVu Sans"')
