"""The one heat map with words in its cells: what stands where, and that it can be read on every colour."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import Normalize

from lab_utils.show.heat_map import choose_inks, draw_heat_map, draw_shares_over_steps, share_scale
from lab_utils.show.style import new_figure


def draw(values, words, **more):
    axes = new_figure().subplots()
    image = draw_heat_map(axes, np.array(values), share_scale(2.0), words=words, **more)
    return axes, image


def test_words_stand_in_their_cells_and_empty_ones_are_left_out():
    axes, image = draw([[0.0, 1.0, 2.0], [0.5, np.nan, 1.5]], [["a", "", "c"], ["d", "", "f"]])
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "a", (2, 0): "c", (0, 1): "d", (2, 1): "f"}
    assert image.get_array().mask.tolist() == [[False, False, False], [False, True, False]]


def test_rows_and_columns_have_names_or_numbers():
    axes, _ = draw([[1.0, 1.0], [1.0, 1.0]], [["", ""]] * 2, rows=["x", "y"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["x", "y"]
    assert axes.get_xticks().tolist() == [0, 1]


def test_white_words_on_both_dark_ends_and_black_ones_between():
    axes, _ = draw([[0.0, 0.5, 1.0, 1.5, 2.0, np.nan]], [["0", "½", "1", "1½", "2", "none"]])
    assert [text.get_color() for text in axes.texts] == ["w", "k", "k", "k", "w", "k"]


def contrast(one: float, other: float) -> float:
    """Of two luminances, by the definition in WCAG 2.2."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(rgb) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts))


@pytest.mark.parametrize("name", ["PuOr_r", "cividis", "Blues"])
def test_every_colour_of_a_map_has_a_legible_ink(name):
    colours = colormaps[name](np.linspace(0, 1, 256))
    for rgba, ink in zip(colours, choose_inks(colours[None])[0]):
        assert contrast(luminance(rgba[:3]), 1.0 if ink == "w" else 0.0) >= 4.5


def test_an_even_share_is_white_whatever_the_largest_is():
    for largest in (2.0, 4.0):
        scale = share_scale(largest)
        assert [scale(x) for x in (0.0, 1.0, largest)] == [0.0, 0.5, 1.0]


def test_shares_over_steps_lie_between_the_first_and_the_last_step():
    axes = new_figure().subplots()
    image = draw_shares_over_steps(axes, np.ones((3, 5)), last_step=40, largest=2.0)
    assert image.get_extent() == [0, 40, 2.5, -0.5]  # expert 0 above


def test_other_scales_and_colours_are_taken():
    axes = new_figure().subplots()
    image = draw_heat_map(
        axes, np.array([[0.0, 1.0]]), Normalize(0, 1), words=[["0", "1"]], colours="cividis"
    )
    assert image.get_cmap().name == "cividis"
    assert [text.get_color() for text in axes.texts] == ["w", "k"]
