"""No legend stands upon what is drawn: in every figure of the lab, no curve and no marker runs through one."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.show.every_figure import FIGURES


def crossed(axes: Axes) -> list[str]:
    """The labels of lines with a point within the legend of these axes, in 50 steps between two points."""
    if (legend := axes.get_legend()) is None:
        return []
    box = legend.get_window_extent()
    found = []
    for line in axes.lines:
        corners = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        at = np.linspace(0, len(corners) - 1, 50 * len(corners))
        x, y = (np.interp(at, range(len(corners)), along) for along in corners.T)
        if ((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1)).any():
            found.append(str(line.get_label()))
    return found


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")
@pytest.mark.parametrize("name", FIGURES)
def test_no_legend_stands_upon_a_line(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    assert [label for axes in figure.axes for label in crossed(axes)] == []
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


def test_a_legend_upon_a_line_is_found():
    figure = FIGURES["ch03_experts.draw_activations"]()
    figure.axes[0].plot([-5, 3], figure.axes[0].get_ylim(), label="across")
    figure.axes[0].legend(loc="center")
    figure.draw_without_rendering()
    assert "across" in crossed(figure.axes[0])
