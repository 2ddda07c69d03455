"""The drawing of notebook 06."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from lab_utils.show.style import new_figure

LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."))


def draw_stream(sizes: Mapping[str, Sequence[float]]) -> Figure:
    """The size of the residual stream after every block, a line a way of wiring."""
    figure = new_figure(9.0, 3.2)
    figure.suptitle("Without norms the stream grows by a factor a block")
    axes = figure.subplots()
    for (name, values), (colour, line) in zip(sizes.items(), LINES):
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=colour,
            linestyle=line,
            marker="o",
            markersize=3,
            label=name,
        )
    axes.set_yscale("log")
    axes.set_xlabel("blocks passed")
    axes.set_ylabel("root mean square of the stream")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
