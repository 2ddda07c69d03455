"""What the training panel leaves in the notebook: its six pictures drawn once, words for them, and plotly's JSON."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lab_utils.live.data import DEAD_BELOW, Line, PanelData, collect_panel_data
from lab_utils.live.history import RunHistory
from lab_utils.machine.front_end import is_live
from lab_utils.show.heat_map import draw_heat_map, share_scale
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import FLOOR, OTHER_STYLE, SERIES, STYLES, new_figure, tidy

LINES = ("-", "--", ":", "-.")
NO_ROUTER = "no model with a router was trained"
MARKERS = ("o", "s", "D", "^", "X", "P")


def make_closing_snapshot(histories: Sequence[RunHistory], bits: float) -> Snapshot | None:
    """The final state of the panel; None before the first step."""
    begun = [history for history in histories if history.last]
    if not begun:
        return None
    from lab_utils.live.figure import (
        make_closing_figure,  # plotly takes a second to load: not before there is a picture
    )

    data = collect_panel_data(begun, bits)
    words = f"The training panel at its end. {describe_panel(begun, data)}"
    return Snapshot(draw_panel(data), words, make_closing_figure(begun, bits), is_live())


def describe_panel(histories: Sequence[RunHistory], data: PanelData) -> str:
    """The picture in words: how far each training came, the router's state, the interventions."""
    parts = ["Loss, loss by role, router and attention logits in six charts."]
    for history in histories:
        last = history.last
        found = f"{history.name}: step {last.step} of {last.n_steps}"
        if history.evaluations:
            evaluation = history.evaluations[-1].evaluation
            found += f", validation loss {evaluation.loss:.3f}, {evaluation.bits_per_byte:.3f} bits per byte"
        parts.append(found + ".")
    if data.floor is not None:
        parts.append(f"The floor lies at {data.floor:.3f} bits per byte.")
    if data.load is not None:
        parts.append(
            f"Router of {data.router_of}: shares from {data.load.min():.2f} to {data.load.max():.2f}, "
            f"{len(data.dead)} dead experts."
        )
    marks = [f"{mark.number}: {h.name}, step {mark.step}, {mark.text}" for h in histories for mark in h.marks]
    if marks:
        parts.append("Steered by hand. " + "; ".join(marks) + ".")
    return " ".join(parts)


def draw_panel(data: PanelData) -> Figure:
    """Loss, loss by role; the share of tokens per expert, MaxVio; attention logits, router entropy."""
    figure = new_figure(10.0, 7.4)
    ((loss, roles), (load, max_vio), (logits, entropy)) = figure.subplots(3, 2)
    x_name = "tokens seen" if data.axis == "tokens" else "seconds of training steps"
    _draw_loss(loss, data, x_name)
    # Without an evaluation nobody can say yet whether the text has roles.
    no_roles = "roles are known on storyworld only" if data.validation else "no evaluation yet"
    title = f"Loss by role{_name(data.roles_of)}"
    _draw_lines(roles, data.roles, title, x_name, "bits per byte", no_roles, markers=True)
    _draw_load(load, data)
    _draw_lines(
        max_vio, data.max_vio, "Imbalance: 0 is even, 1 is twice a share", x_name, "MaxVio", NO_ROUTER
    )
    _draw_logits(logits, data)
    _draw_lines(
        entropy, data.entropy, "Router entropy: falls when scores collapse", x_name, "nats", NO_ROUTER
    )
    if data.even_entropy is not None:
        entropy.axhline(data.even_entropy, label="even: ln E", **FLOOR)
        entropy.legend(frameon=False, fontsize="small")
    for x, numbers, arm in data.marks:
        _draw_mark(loss, x, numbers, STYLES.get(arm, OTHER_STYLE)[0])
    for x, numbers in data.router_marks:
        for axes in (max_vio, entropy):
            _draw_mark(axes, x, numbers, "#444444")
    for axes in (loss, roles, max_vio, entropy):
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    return figure


def _name(name: str) -> str:
    return f" ({name})" if name else ""


def _label(axes: Axes, title: str, x_name: str, y_name: str) -> None:
    axes.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    tidy(axes)


def _say_why(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color="#5b6475")


def _draw_loss(axes: Axes, data: PanelData, x_name: str) -> None:
    for line in data.training:
        axes.plot(line.x, line.y, color=STYLES.get(line.arm, OTHER_STYLE)[0], linewidth=0.8, alpha=0.5)
    for line in data.validation:
        colour, style, marker = STYLES.get(line.arm, OTHER_STYLE)
        axes.plot(line.x, line.y, color=colour, linestyle=style, marker=marker, markersize=4, label=line.name)
    if data.floor is not None:
        axes.axhline(data.floor, label=f"floor {data.floor:.3f}", **FLOOR)
    axes.set_ylim(bottom=0)
    _label(axes, "Loss: thin in training, marked on validation text", x_name, "bits per byte")
    if data.validation:
        axes.legend(frameon=False, fontsize="small")


def _draw_lines(
    axes: Axes,
    lines: Sequence[Line],
    title: str,
    x_name: str,
    y_name: str,
    absent: str,
    markers: bool = False,
) -> None:
    """absent: why there are no lines, where there are none."""
    for line in lines:
        look = dict(color=SERIES[line.index % len(SERIES)], linestyle=LINES[line.index % len(LINES)])
        marker = MARKERS[line.index % len(MARKERS)] if markers else ""
        axes.plot(line.x, line.y, label=line.name, marker=marker, markersize=4, **look)
    if lines:
        axes.legend(frameon=False, fontsize="small")
        if y_name != "nats":
            axes.set_ylim(bottom=0)
    else:
        _say_why(axes, absent)
    _label(axes, title, x_name, y_name)


def _draw_load(axes: Axes, data: PanelData) -> None:
    title = f"Share of tokens per expert: 1.0 is even{_name(data.router_of)}"
    if data.load is None:
        _say_why(axes, NO_ROUTER)
        _label(axes, title, "expert", "layer")
        return
    few = data.load.shape[1] <= 16
    write = lambda share: "×" if share < DEAD_BELOW else f"{share:.1f}"
    words = [[write(share) if few else "" for share in shares] for shares in data.load]
    names = [str(layer) for layer in data.layers]
    draw_heat_map(axes, data.load, share_scale(2.0), words=words, rows=names, size=8)
    _label(axes, title, "expert", "layer")
    axes.grid(visible=False)


def _draw_logits(axes: Axes, data: PanelData) -> None:
    _label(axes, f"Largest attention logit of every head{_name(data.logits_of)}", "layer", "logit")
    if not data.logits:
        _say_why(axes, "not measured without QK-clip")
        return
    for layer, heads in enumerate(data.logits):
        x = [layer + 0.7 * (head + 0.5) / len(heads) - 0.35 for head in range(len(heads))]
        axes.plot(x, heads, "o", color=SERIES[0], markersize=5)
    if data.tau is not None:
        axes.axhline(data.tau, label=f"QK-clip at tau = {data.tau:g}", **FLOOR)
        axes.legend(frameon=False, fontsize="small")
    axes.set_yscale("log")
    axes.set_xticks(range(len(data.logits)))


def _draw_mark(axes: Axes, x: float, numbers: str, colour: str) -> None:
    axes.axvline(x, color=colour, linestyle="--", linewidth=1)
    axes.annotate(
        numbers, (x, 0), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
        color=colour, fontsize="small", fontweight="bold",
    )  # fmt: skip
