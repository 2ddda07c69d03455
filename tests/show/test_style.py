"""Marks that readers tell apart: experts by fill or outline, lines by colour or dashes, for every kind of sight."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lab_utils.live.picture import LINES, MARKERS
from lab_utils.show.palette import to_lab
from lab_utils.show.style import FILLS, SERIES, STYLES, mark_of

# Machado, Oliveira and Fernandes 2009: what a person without one kind of cones sees, in linear RGB.
SIGHTS = {
    "all cones": np.eye(3),
    "no L cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no M cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no S cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
each_sight = pytest.mark.parametrize("sight", SIGHTS)
CLEAR = 15.0  # of CIE 1976; 2.3 is just noticeable between two colours that touch


def seen(colours, sight: str) -> np.ndarray:
    """The colours in CIELAB as this sight has them."""
    signal = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.asarray(SIGHTS[sight]).T, 0, 1)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return to_lab(np.round(255 * back).astype(np.uint8))


def nearest(colours, sight: str) -> float:
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen(colours, sight), 2))


def test_the_measure_knows_what_is_confused():
    """Red and green of one lightness are one colour without M cones, and two with them."""
    assert (
        nearest(("#c00000", "#6a6a00"), "all cones") > CLEAR > nearest(("#dfcbb2", "#d2d2b6"), "no M cones")
    )


@each_sight
@pytest.mark.parametrize(
    "colours", [FILLS, SERIES, [look[0] for look in STYLES.values()]], ids=["fills", "series", "arms"]
)
def test_colours_are_told_apart(colours, sight):
    assert len(colours) >= 7 and nearest(colours, sight) > CLEAR


def test_sixteen_experts_have_sixteen_marks():
    marks = [mark_of(expert) for expert in range(32)]
    assert len(set(marks)) == 32
    for one, other in itertools.combinations(marks[:16], 2):
        # With one fill, the outlines differ in width and in lightness.
        assert one.fill != other.fill or (one.width != other.width and one.ink != other.ink)


def test_black_letters_are_read_on_every_fill():
    """A contrast of 7, as WCAG 2.1 wants it for small letters."""
    for fill in FILLS:
        signal = np.array(to_rgb(fill))
        linear = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
        assert (linear @ (0.2126, 0.7152, 0.0722) + 0.05) / 0.05 >= 7, fill


def test_arms_and_lines_differ_in_more_than_colour():
    assert len({look[2] for look in STYLES.values()}) == len(STYLES)
    looks = [(SERIES[i % len(SERIES)], LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]) for i in range(16)]
    assert len({look[:2] for look in looks}) == len({look[::2] for look in looks}) == 16
