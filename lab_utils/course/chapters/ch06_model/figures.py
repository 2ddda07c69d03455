"""The drawing of notebook 06."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lab_utils.show.style import draw_lines, new_figure, tidy


def draw_stream(sizes: Mapping[str, Sequence[float]]) -> Figure:
    """The size of the residual stream after every block, a line per way of wiring."""
    figure = new_figure(9.0, 3.2)
    figure.suptitle("Without norms the stream grows by a factor per block")
    axes = figure.subplots()
    draw_lines(axes, sizes, start=1, marker="o", markersize=3)
    axes.set_yscale("log")
    axes.set_xlabel("blocks passed")
    axes.set_ylabel("root mean square of the stream")
    axes.legend(frameon=False)
    tidy(axes)
    return figure
