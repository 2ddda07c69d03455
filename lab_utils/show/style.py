"""One look for all pictures: colours that colour-blind readers tell apart (Okabe and Ito), lines, marks, axes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Arm: colour, line, marker. The same everywhere, so that a reader learns them once.
STYLES = {
    "gpt": ("#E69F00", "--", "s"),
    "gpt-muon": ("#D55E00", ":", "D"),
    "kimi-dense": ("#56B4E9", "-.", "^"),
    "kimi-mla": ("#009E73", "-.", "v"),
    "kimi-moe": ("#CC79A7", "--", "P"),
    "kimi-bias": ("#000000", ":", "X"),
    "kimi": ("#0072B2", "-", "o"),
}


OTHER_STYLE = ("#666666", "-", "*")


FLOOR = dict(color="#444444", linestyle=(0, (1, 1)), linewidth=1.5)


def new_figure(width: float = 9.0, height: float = 3.8) -> Figure:
    """A figure without pyplot, which would remember it."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, where it covers no curve."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito


DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
