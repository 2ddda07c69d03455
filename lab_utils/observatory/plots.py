"""Routing facts in, matplotlib figures out: for every place that shows pictures but runs no script.

Colour is never the only sign: an expert's number, a cell's value or a hatch is there too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

from lab_utils.observatory.counts import LayerChange, Lift
from lab_utils.observatory.lesions import LesionRow
from lab_utils.observatory.token_strip import TokenFacts, make_visible
from lab_utils.show.heat_map import draw_heat_map, share_scale
from lab_utils.show.style import Mark, mark_of, new_figure

FEW = 5.0  # a cell in which chance would put fewer choices is noise
LONGEST = 24  # letters of a token in the drawn strip
THIN = 0.02  # a band with a smaller share of the tokens is not drawn: hundreds would hide the others
LARGE = 0.2  # only shares from here on get a number: the cells are small
_MONO = FontProperties(family="monospace", size=9)


def draw_strip(facts: Sequence[TokenFacts], layer: int, width: float = 9.5) -> Figure:
    """Every token in a box with its first expert's mark and number; the decimal is its weight."""
    per_row, rows = int(width * 10.5), [[]]
    used = 0
    for fact in facts:
        cells = max(4, len(_write_label(fact))) + 1
        if used + cells > per_row and rows[-1]:
            rows.append([])
            used = 0
        rows[-1].append((used, cells, fact))
        used += cells
    figure = new_figure(width, 0.75 + 0.62 * len(rows))
    figure.suptitle(
        f"Layer {layer}: colour, frame and #number are the token's first expert, the decimal its weight",
        fontsize=11,
    )
    axes = figure.subplots()
    axes.set(xlim=(0, per_row), ylim=(len(rows), 0))
    axes.axis("off")
    for y, row in enumerate(rows):
        for x, cells, fact in row:
            mark = mark_of(fact.experts[0])
            box = FancyBboxPatch(
                (x + 0.25, y + 0.06), cells - 0.5, 0.84, boxstyle="round,pad=0,rounding_size=0.2",
                facecolor=mark.fill, edgecolor=mark.ink, linewidth=0.7 * mark.width, linestyle=mark.line,
                mutation_aspect=0.1,
            )  # fmt: skip
            axes.add_patch(box)
            middle = x + cells / 2
            # A prompt's dollar signs are text, not mathematics.
            style = dict(ha="center", va="center", parse_math=False)
            axes.text(middle, y + 0.32, _write_label(fact), fontproperties=_MONO, **style)
            axes.text(
                middle, y + 0.7, f"#{fact.experts[0]} {_shorten(fact.weights[0])}", fontsize=6.5, **style
            )
    return figure


def _write_label(fact: TokenFacts) -> str:
    text = make_drawable(make_visible(fact.text))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def make_drawable(text: str) -> str:
    """The text with code points in place of characters that the font lacks; they would become empty boxes."""
    font = get_font(findfont(_MONO))
    return "".join(c if font.get_char_index(ord(c)) else f"\\u{ord(c):x}" for c in text)


def _shorten(weight: float) -> str:
    return f"{weight:.2f}".removeprefix("0")


def draw_lift(lift: Lift, title: str, order: Sequence[int]) -> Figure:
    """Experts x classes: the lift in numbers and colour, the count below it; grey hatch where chance gives too few."""
    n_experts, n_classes = len(order), len(lift.classes)
    figure = new_figure(max(6.0, 1.6 + 1.0 * n_classes), 1.6 + 0.29 * n_experts)
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    values, counts, expected = (x[list(order)] for x in (lift.lift, lift.counts, lift.expected))
    noise = expected < FEW
    words = [
        [f"{n:,}" if doubt or not n else f"{value:.2f} ({n:,})" for value, n, doubt in zip(*row)]
        for row in zip(values, counts, noise)
    ]
    # In octaves, so that twice and half as often as chance are equally dark.
    octaves = np.log2(np.clip(np.nan_to_num(values, nan=1.0), 0.25, 4.0))
    image = draw_heat_map(
        axes,
        np.where(noise, np.nan, octaves),
        Normalize(-2, 2),
        words=words,
        rows=[str(expert) for expert in order],
        columns=lift.classes,
    )
    grey = dict(facecolor="#e8e8e8", edgecolor="#aaaaaa", hatch="///", lw=0)
    for y, x in np.argwhere(noise):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **grey))
    axes.set_ylabel("expert")
    axes.set_xlabel(f"class of the token (hatched: chance gives fewer than {FEW:g} choices)")
    bar = figure.colorbar(image, ax=axes, label="lift over chance", aspect=30)
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["1/4", "1/2", "1", "2", "4"])
    return figure


def draw_paths(counts: Sequence[Int[np.ndarray, "n_experts n_experts"]], layers: Sequence[int]) -> Figure:
    """Bands from expert to expert, as thick as their number of tokens; a column per layer, ordered by number."""
    n_experts = len(counts[0])
    total = counts[0].sum()
    gap = 0.25 / n_experts
    figure = new_figure(8.5, max(4.0, 0.31 * n_experts))
    figure.suptitle(
        "Where tokens go next, from first expert to first expert: a thick band has many tokens",
        fontsize=11,
    )
    axes = figure.subplots()
    loads = [c.sum(axis=1) for c in counts] + [counts[-1].sum(axis=0)]
    tops = [np.concatenate([[0.0], np.cumsum(load / total + gap)[:-1]]) for load in loads]
    for column, flow in enumerate(counts):
        leaves, arrives = tops[column].copy(), tops[column + 1].copy()
        for i, j in np.ndindex(flow.shape):
            size = flow[i, j] / total
            if size >= THIN:
                _draw_band(axes, column, leaves[i], arrives[j], size, mark_of(i))
            leaves[i] += size
            arrives[j] += size
    for column, load in enumerate(loads):
        for expert, (top, n) in enumerate(zip(tops[column], load)):
            mark = mark_of(expert)
            look = dict(
                facecolor=mark.fill, edgecolor=mark.ink, linestyle=mark.line, linewidth=0.7 * mark.width
            )
            axes.add_patch(Rectangle((column - 0.02, top), 0.04, n / total, zorder=2, **look))
            words = f"{expert}: {n / total:.0%}"
            side, align = (0.03, "left") if column == len(loads) - 1 else (-0.03, "right")
            # The numbers of the columns between the ends stand upon bands.
            behind = dict(facecolor="w", edgecolor="none", alpha=0.8, pad=0.6)
            axes.text(
                column + side, top + n / total / 2, words, ha=align, va="center", fontsize=7.5, bbox=behind
            )
    axes.set(xlim=(-0.18, len(loads) - 1 + 0.18), ylim=(1 + 0.25, -0.02))
    axes.set_xticks(range(len(loads)), [f"layer {layer}" for layer in layers])
    axes.set_yticks([])
    axes.set_xlabel(
        f"number of the expert: its share of the tokens; bands with less than {THIN:.0%} of the tokens are left out"
    )
    axes.spines[:].set_visible(False)
    return figure


def _draw_band(axes: Axes, column: int, y0: float, y1: float, size: float, mark: Mark) -> None:
    x0, x1, middle = column + 0.02, column + 0.98, column + 0.5
    corners = [
        (x0, y0), (middle, y0), (middle, y1), (x1, y1),
        (x1, y1 + size), (middle, y1 + size), (middle, y0 + size), (x0, y0 + size), (x0, y0),
    ]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    # A frame around every band would be too much: the thin one of the first experts is left out.
    frame = (
        dict(edgecolor=mark.ink, linestyle=mark.line, linewidth=0.7) if mark.width > 1 else dict(linewidth=0)
    )
    axes.add_patch(PathPatch(Path(corners, codes), facecolor=mark.fill, **frame))


def draw_pairs(lift: Float[np.ndarray, "n_experts n_experts"], layer: int) -> Figure:
    """Which experts are chosen together: 1.0 is as often as their loads alone predict."""
    n_experts = len(lift)
    figure = new_figure(2.2 + 0.38 * n_experts, 1.5 + 0.32 * n_experts)
    figure.suptitle(f"Layer {layer}: pairs chosen together, 1.0 = as often as by load alone", fontsize=11)
    axes = figure.subplots()
    # A pair has no order, so half of the table is enough.
    half = np.where(np.triu(np.ones(lift.shape, dtype=bool), k=1), lift, np.nan)
    image = draw_heat_map(
        axes,
        half,
        share_scale(max(2.0, np.nanmax(half))),
        words=write_cells(half, "{:.1f}"),
        size=7,
    )
    axes.set(xlabel="expert", ylabel="expert", xticks=range(n_experts), yticks=range(n_experts))
    axes.set_aspect("equal")
    figure.colorbar(image, ax=axes, label="together, against chance", aspect=30)
    return figure


def write_cells(values: Float[np.ndarray, "rows columns"], form: str) -> list[list[str]]:
    """The numbers rounded, without a minus before a zero; nothing for nan."""

    def write(value: float) -> str:
        if np.isnan(value):
            return ""
        text = form.format(value)
        return text.removeprefix("-") if float(text) == 0 else text

    return [[write(value) for value in row] for row in values]


def draw_change(changes: Sequence[LayerChange], shown: int) -> Figure:
    """Left, how many tokens moved in every layer; right, from which first expert to which, in layer `shown`."""
    figure = new_figure(8.5, 3.8)
    figure.suptitle("How routing changed between two states of one model, on the same tokens", fontsize=11)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    bars = (
        ("moved", "another first expert", "#E69F00", ""),
        ("kept", "experts kept", "#56B4E9", "//"),
        ("kept_by_chance", "kept by chance", "#BBBBBB", ".."),
    )
    for i, (field, words, colour, hatch) in enumerate(bars):
        at = np.arange(len(changes)) + (i - 1) * 0.27
        heights = [getattr(change, field) for change in changes]
        drawn = left.bar(at, heights, 0.25, color=colour, hatch=hatch, edgecolor="k", lw=0.5, label=words)
        left.bar_label(drawn, fmt="{:.2f}", fontsize=6.5, padding=1)
    left.set_xticks(range(len(changes)), [f"layer {change.layer}" for change in changes])
    left.set(ylabel="share of tokens, share of their experts", ylim=(0, 1.1))
    left.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
    left.spines[["top", "right"]].set_visible(False)
    change = next(c for c in changes if c.layer == shown)
    counts = change.first_to_first
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    words = [[_shorten(value) if value >= LARGE else "" for value in row] for row in share]
    image = draw_heat_map(right, share, Normalize(0, 1), words=words, colours="Blues", size=6.5)
    right.set(xlabel=f"first expert after (numbers from {LARGE:g} on)", ylabel="first expert before")
    right.set_title(f"layer {shown}: where an expert's tokens went", fontsize="medium", loc="left")
    right.set(xticks=range(len(counts)), yticks=range(len(counts)))
    right.tick_params(labelsize=7)
    figure.colorbar(image, ax=right, label="share of the row's tokens", aspect=30)
    return figure


def draw_lesions(rows: Sequence[LesionRow]) -> Figure:
    """What it costs to lose an expert: layers x experts, a panel per role of the token predicted."""
    roles = list(rows[0].cost)
    layers = sorted({row.layer for row in rows})
    n_experts = len(rows) // len(layers)
    figure = new_figure(9.5, 0.9 + len(roles) * (0.5 + 0.25 * len(layers)))
    figure.suptitle(
        "What it costs to lose one expert: loss added, in thousandths of a nat per token, by what is predicted",
        fontsize=11,
    )
    panels = figure.subplots(len(roles), 1, squeeze=False, sharex=True)[:, 0]
    for axes, role in zip(panels, roles):
        values = 1000 * np.array([row.cost[role] for row in rows]).reshape(len(layers), n_experts)
        # Every role has its own scale: facts cost ten times as much as grammar.
        limit = max(1e-3, np.abs(values).max())
        numbers, names = write_cells(values, "{:.0f}"), [str(layer) for layer in layers]
        draw_heat_map(axes, values, Normalize(-limit, limit), words=numbers, rows=names, size=7)
        axes.set_title(f"{role} (darkest: ±{limit:.0f})", fontsize="medium", loc="left")
        axes.set_ylabel("layer")
        axes.set_xticks(range(n_experts))
    panels[-1].set_xlabel("expert switched off")
    return figure
