"""The drawings of notebook 11."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lab_utils.show.heat_map import draw_heat_map, share_scale
from lab_utils.show.style import new_figure

INKS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # of the senders


def draw_travel(rows: Sequence[Sequence[int]]) -> Figure:
    """Who sends how many rows to whom. rows[s][r]: from rank s to rank r."""
    counts = np.array(rows, dtype=float)
    figure = new_figure(8.0, 3.4)
    figure.suptitle(
        "One all-to-all: each row of the table is what one rank sends, each column what one receives"
    )
    axes = figure.subplots()
    names = [f"rank {i}" for i in range(len(counts))]
    words = [[f"{n:.0f}" for n in line] for line in counts]
    scale = share_scale(max(2.0, counts.max() / counts.mean()))
    image = draw_heat_map(
        axes, counts / counts.mean(), scale, words=words, rows=names, columns=names, size=10.0
    )
    axes.set_xlabel("to")
    axes.set_ylabel("from")
    figure.colorbar(image, ax=axes, label="share of rows (1.0 = even)")
    return figure


def travel_plotly(rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The same as a Sankey diagram, plotly's JSON: senders to the left, receivers to the right, links of their rows."""
    n = len(rows)
    pairs = [(s, r) for s in range(n) for r in range(n) if rows[s][r]]
    trace = {
        "type": "sankey",
        "arrangement": "snap",  # bars keep their order, and do not overlap
        "node": {
            "label": [f"from rank {i}" for i in range(n)] + [f"to rank {i}" for i in range(n)],
            "color": [INKS[i % len(INKS)] for i in range(n)] + ["#777777"] * n,
            "x": [0.01] * n + [0.99] * n,
            "y": [*_middles([sum(row) for row in rows]), *_middles([sum(column) for column in zip(*rows)])],
            "hovertemplate": "%{label}: %{value} rows<extra></extra>",
        },
        "link": {
            "source": [s for s, _ in pairs],
            "target": [n + r for _, r in pairs],
            "value": [rows[s][r] for s, r in pairs],
            "color": [_pale(INKS[s % len(INKS)]) for s, _ in pairs],
            "hovertemplate": "%{source.label}, %{target.label}: %{value} rows<extra></extra>",
        },
    }
    layout = {
        "title": {"text": "Who sends how many rows to whom: point at a band for its number"},
        "height": 420,
        "margin": {"l": 20, "r": 20, "t": 60, "b": 20},
        # Its own paper and ink, so that it reads in a dark theme too.
        "paper_bgcolor": "#ffffff",
        "font": {"color": "#222222"},
    }
    return {"data": [trace], "layout": layout}


def _middles(sizes: Sequence[int]) -> list[float]:
    """The middles of bars of these sizes, one after the other, in parts of the whole; none lies on a border."""
    ends = np.cumsum(sizes)
    return [
        float(round(min(max((end - size / 2) / ends[-1], 0.01), 0.99), 3)) for size, end in zip(sizes, ends)
    ]


def _pale(colour: str) -> str:
    """The colour, so that what lies behind shows through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.45)"


def draw_waiting(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """How long each rank computes, and how long it waits for the slowest one; a panel per way of balancing."""
    figure = new_figure(9.0, 3.2)
    figure.suptitle("The step ends with the slowest rank (dashed); the others wait for it")
    panels = np.atleast_1d(figure.subplots(1, len(seconds), sharey=True))
    for axes, (name, busy) in zip(panels, seconds.items()):
        work = 1e3 * np.array(busy)
        places = np.arange(len(work))
        axes.bar(places, work, color="#0072B2", label="computes")
        axes.bar(
            places, work.max() - work, bottom=work, color="#E69F00", hatch="//", edgecolor="w", label="waits"
        )
        axes.axhline(work.max(), color="#444444", linestyle="--", linewidth=1)
        axes.set_title(name, fontsize="medium", loc="left")
        axes.set_xticks(places)
        axes.set_xlabel("rank")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("milliseconds")
    panels[-1].legend(frameon=False, loc="upper right")  # the best balanced one leaves room
    return figure
