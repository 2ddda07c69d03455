"""One look for all pictures: colours that colour-blind readers tell apart (Okabe and Ito), lines, marks, axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
    "yours": ("#882255", "--", "*"),
}
OTHER_STYLE = ("#666666", "-", "*")
# Whatever else a picture compares: colour, line, marker of the first, the second ...
LOOKS = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"), ("#CC79A7", ":", "D"))
# The same where the way that fails comes first: it is vermilion, and the way that works is blue.
PROBLEM_FIRST = (LOOKS[1], LOOKS[0], LOOKS[2], LOOKS[3])

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # layers, roles

# Of an expert: a fill light enough for black letters, and an outline. Colour-blind readers tell any two of the fills
# apart, and where there are more experts than fills, the outline changes. The expert's number always stands beside it.
FILLS = ("#e7fc81", "#9ddbfc", "#6efce0", "#f3d3a1", "#949aea", "#fc8747", "#cf8cb6", "#a8a185")
OUTLINES = (
    ("solid", 1, "#777777"),
    ("solid", 2, "#000000"),
    ("dashed", 2, "#000000"),
    ("dotted", 2, "#000000"),
)

FLOOR = dict(color="#444444", linestyle=(0, (1, 1)), linewidth=1.5)


class Mark(NamedTuple):
    """How an expert is shown: its fill, and its outline's line, width and colour, as CSS and matplotlib call them."""

    fill: str
    line: str
    width: int
    ink: str


def mark_of(expert: int) -> Mark:
    """Any two of 32 experts have different marks; those of expert 0 and of expert 32 are the same."""
    return Mark(FILLS[expert % len(FILLS)], *OUTLINES[expert // len(FILLS) % len(OUTLINES)])


def new_figure(width: float = 9.0, height: float = 3.8) -> Figure:
    """A figure without pyplot, which would remember it."""
    return Figure(figsize=(width, height), layout="constrained")


def draw_lines(
    axes: Axes,
    lines: Mapping[str, Sequence[float]],
    *,
    x: Sequence[float] | None = None,
    start: int = 0,
    looks: Sequence[tuple[str, str, str]] = LOOKS,
    **more: Any,
) -> None:
    """A line per name, over `x` or over whole numbers from `start`. Lines differ in colour, dashes and markers.

    `more` goes to matplotlib's `plot`, and wins over the looks.
    """
    for (name, y), (colour, dashes, marker) in zip(lines.items(), looks):
        style = dict(color=colour, linestyle=dashes, marker=marker, markersize=4, label=name) | more
        axes.plot(range(start, start + len(y)) if x is None else x, y, **style)


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, where it covers no curve."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)


def tidy(axes: Axes) -> None:
    """A faint grid, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
