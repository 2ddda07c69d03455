"""The figures of a benchmark, made from plain data. Lines differ in colour and also in dashes and markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lab_utils.bench.curves import Curve, RoleCurves
from lab_utils.show.heat_map import draw_heat_map, share_scale
from lab_utils.show.style import FLOOR, OTHER_STYLE, STYLES, legend_below, new_figure, tidy


def draw_loss(curves: Sequence[Curve], floor: float | None) -> Figure:
    """Bits per byte over tokens and over seconds, with the text's floor; bands span the best to the worst seed."""
    figure = new_figure()
    figure.suptitle("Validation loss: lower and further left is better")
    timed = all(curve.seconds is not None for curve in curves)
    panels = figure.subplots(1, 2 if timed else 1, sharey=True, squeeze=False)[0]
    for axes, x in zip(panels, ("tokens", "seconds")):
        for curve in curves:
            _draw_curve(axes, getattr(curve, x), curve)
        _draw_floor(axes, floor)
        axes.set_xlabel("tokens seen" if x == "tokens" else "seconds of training steps")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        tidy(axes)
    panels[0].set_ylabel("bits per byte")
    legend_below(figure, panels[0])
    return figure


def draw_roles(roles: Sequence[RoleCurves]) -> Figure:
    """Bits per byte over tokens: a panel per role, each with its own floor."""
    figure = new_figure(9.0, 5.2)
    figure.suptitle(
        "Loss by role of the token, each with its own floor (dotted): where is there something left to learn?"
    )
    panels = figure.subplots(2, (len(roles) + 1) // 2, sharex=True, squeeze=False).ravel()
    for axes, role in zip(panels, roles):
        for curve in role.curves:
            _draw_curve(axes, curve.tokens, curve)
        _draw_floor(axes, role.floor, "floor")
        axes.set_title(f"{role.role} (floor {role.floor:.3f})", fontsize="medium", loc="left")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_ylabel("bits per byte")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        tidy(axes)
    for axes in panels[len(roles) :]:  # an odd number of roles leaves one panel empty
        axes.set_visible(False)
    for axes in figure.axes[-((len(roles) + 1) // 2) :]:
        axes.set_xlabel("tokens seen")
    legend_below(figure, figure.axes[0])
    return figure


def draw_router(loads: Mapping[str, Sequence[Sequence[float]]], first_layer: int = 0) -> Figure:
    """How evenly the experts are used: a heat map of layers x experts per arm; 1.0 is an even share."""
    n_layers = max(len(load) for load in loads.values())
    height = 1.3 + len(loads) * (0.65 + 0.42 * n_layers)
    figure = new_figure(9.0, height)
    figure.suptitle("Share of tokens per expert at the end of training: 1.0 is even, 0.0 is a dead expert")
    scale = share_scale(max(2.0, *(max(map(max, load)) for load in loads.values())))
    panels = figure.subplots(len(loads), 1, squeeze=False)[:, 0]
    for axes, (arm, load) in zip(panels, loads.items()):
        image = draw_heat_map(
            axes,
            np.asarray(load),
            scale,
            words=[[f"{share:.1f}" for share in layer] for layer in load],
            rows=[str(first_layer + i) for i in range(len(load))],
            size=8 if len(load[0]) <= 16 else 6.5,
        )
        axes.set_title(arm, fontsize="medium", loc="left")
        axes.set_ylabel("layer")
    panels[-1].set_xlabel("expert")
    figure.colorbar(image, ax=list(panels), label="load (1.0 = even)", aspect=30)
    return figure


def draw_max_vio(series: Mapping[str, Sequence[float]]) -> Figure:
    """MaxVio over the steps, a line per arm: 0 is even, 1 means that the busiest expert has twice its share."""
    title = "Imbalance of the router: 0 is even, 1 means that one expert gets twice its share"
    return _draw_steps(title, "MaxVio, mean of layers", series)


def draw_logits(series: Mapping[str, Sequence[float]], tau: float | None) -> Figure:
    """The largest attention logit over the steps, with the threshold above which QK-clip acts."""
    title = "Largest attention logit of all layers and heads: QK-clip acts above its line"
    return _draw_steps(title, "logit", series, tau)


def _draw_steps(
    title: str, quantity: str, series: Mapping[str, Sequence[float]], tau: float | None = None
) -> Figure:
    """One quantity over the steps, a line per arm, and QK-clip's threshold where there is one."""
    figure = new_figure(9.0, 3.0)
    axes = figure.subplots()
    figure.suptitle(title)
    for arm, values in series.items():
        _draw_line(axes, arm, values)
    if tau is not None:
        axes.axhline(tau, label=f"QK-clip at tau = {tau:g}", **FLOOR)
    axes.set_xlabel("step")
    axes.set_ylabel(quantity)
    axes.set_ylim(bottom=0)
    tidy(axes)
    legend_below(figure, axes)
    return figure


def _draw_curve(axes: Axes, x: Sequence[float], curve: Curve) -> None:
    colour, line, marker = STYLES.get(curve.arm, OTHER_STYLE)
    axes.plot(x, curve.mean, color=colour, linestyle=line, marker=marker, markersize=4, label=curve.arm)
    axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)


def _draw_line(axes: Axes, arm: str, values: Sequence[float]) -> None:
    colour, line, _ = STYLES.get(arm, OTHER_STYLE)
    axes.plot(range(1, len(values) + 1), values, color=colour, linestyle=line, label=arm)


def _draw_floor(axes: Axes, floor: float | None, label: str = "") -> None:
    if floor is not None:
        axes.axhline(floor, label=label or f"floor {floor:.3f}", **FLOOR)
