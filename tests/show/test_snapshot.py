"""The picture that stays in a notebook keeps the colours that tell lines apart."""

import io

import numpy as np
import pytest
from PIL import Image

from lab_utils.show.heat_map import draw_shares_over_steps
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import STYLES, new_figure


@pytest.mark.parametrize("colours", [32, 128])
def test_a_small_palette_keeps_the_colour_of_every_arm(colours):
    """Beside a heat map with hundreds of shades, each thin line still has its own colour."""
    figure = new_figure()
    lines, shades = figure.subplots(1, 2)
    for i, (colour, _, _) in enumerate(STYLES.values()):
        lines.plot([0, 1], [i, i], color=colour)
    draw_shares_over_steps(shades, np.random.default_rng(0).uniform(0, 2, (20, 30)), 30, 2.0)
    png = Snapshot(figure, "x", colours=colours).png
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3).astype(int)
    for colour, _, _ in STYLES.values():
        exact = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels - exact).max(axis=1).min() < 24, colour


def test_a_terminal_shows_the_words_alone():
    assert repr(Snapshot(new_figure(), "Two lines fall.", plotly={"data": [0] * 10_000})) == "Two lines fall."
