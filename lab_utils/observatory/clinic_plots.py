"""The collapse clinic and the cache meter as figures: data in, matplotlib out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lab_utils.observatory.cache_meter import CacheCurve
from lab_utils.observatory.clinic import DEAD, METHODS, OVERLOADED, SCORINGS, ClinicTrace
from lab_utils.show.style import new_figure

LINES = {
    "none": ("#D55E00", "-"),
    "load-balance loss": ("#0072B2", "--"),
    "bias update": ("#009E73", "-."),
    "both": ("#000000", ":"),
}


def _norm(n_experts: int, top_k: int) -> TwoSlopeNorm:
    return TwoSlopeNorm(vmin=0.0, vcenter=1.0, vmax=n_experts / top_k)


def draw_clinic(trace: ClinicTrace) -> Figure:
    """The whole run at once: a panel a model, experts over steps; dark purple rows are experts that died."""
    figure = new_figure(9.0, 4.2)
    figure.suptitle(
        "Eight routers while they learn: an even colour is health, a dark row a dead expert (×)", fontsize=11
    )
    panels = figure.subplots(len(SCORINGS), len(METHODS), sharex=True, sharey=True)
    steps = trace.steps
    for row, scoring in enumerate(SCORINGS):
        for column, method in enumerate(METHODS):
            axes, frames = panels[row, column], trace.course(scoring, method).frames
            load = np.array([frame.load for frame in frames]).T
            n_experts, top_k = len(load), len(frames[0].probe[0])
            image = axes.imshow(
                load,
                cmap="PuOr_r",
                norm=_norm(n_experts, top_k),
                aspect="auto",
                interpolation="nearest",
                extent=(0, steps[-1], n_experts - 0.5, -0.5),
            )
            dead = np.argwhere(load < DEAD)
            width = steps[-1] / len(steps)
            axes.plot((dead[:, 1] + 0.5) * width, dead[:, 0], "x", color="w", markersize=3)
            axes.set_title(
                f"{scoring}, {method}\nMaxVio at the end {frames[-1].max_vio:.2f}", fontsize=9, loc="left"
            )
            axes.set_yticks(range(n_experts))
    for axes in panels[-1]:
        axes.set_xlabel("step")
    for axes in panels[:, 0]:
        axes.set_ylabel("expert")
    figure.colorbar(image, ax=panels, label="share of the choices (1.0 = even)", aspect=30)
    return figure


def draw_vital_signs(trace: ClinicTrace) -> Figure:
    """MaxVio over the steps, a panel a scoring and a line a method."""
    figure = new_figure(8.0, 3.1)
    figure.suptitle("MaxVio while they learn: without balancing it climbs to the top and stays", fontsize=11)
    panels = figure.subplots(1, len(SCORINGS), sharey=True)
    for axes, scoring in zip(panels, SCORINGS):
        for method, (colour, line) in LINES.items():
            values = [frame.max_vio for frame in trace.course(scoring, method).frames]
            axes.plot(trace.steps, values, color=colour, linestyle=line, label=method)
        axes.axhline(OVERLOADED, color="#444444", lw=1, linestyle=(0, (1, 1)))
        axes.annotate("alarm", (trace.steps[-1], OVERLOADED), ha="right", va="bottom", fontsize=8)
        axes.set_title(scoring, fontsize="medium", loc="left")
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("MaxVio (0 = even)")
    panels[0].set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def draw_clinic_step(trace: ClinicTrace, at: int) -> Figure:
    """One moment: models x experts, the load in letters and colour, a dead expert with a cross."""
    figure = new_figure(9.0, 3.9)
    frames = [course.frames[at] for course in trace.courses]
    figure.suptitle(f"Step {frames[0].step}: share of the choices, 1.0 = even, × = dead", fontsize=11)
    axes = figure.subplots()
    load = np.array([frame.load for frame in frames])
    norm = _norm(load.shape[1], len(frames[0].probe[0]))
    image = axes.imshow(load, cmap="PuOr_r", norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(load):
        words = "×" if value < DEAD else f"{value:.2f}"
        dark = not 0.25 < norm(value) < 0.75
        axes.text(x, y, words, ha="center", va="center", fontsize=8.5, color="w" if dark else "k")
    axes.set_yticks(range(len(load)), [course.name for course in trace.courses])
    axes.set_xticks(range(load.shape[1]))
    axes.set_xlabel("expert")
    figure.colorbar(image, ax=axes, label="load (1.0 = even)", aspect=30)
    return figure


CACHE_STYLES = {
    "MHA": ("#E69F00", "-", "s"),
    "MLA": ("#0072B2", "--", "o"),
    "BlockLatent": ("#009E73", "-.", "^"),
}


def draw_cache(curves: Sequence[CacheCurve]) -> Figure:
    """Measured bytes as lines, the formula as markers upon them."""
    figure = new_figure(7.5, 3.2)
    figure.suptitle("The cache while generating: lines are measured, markers are the formula", fontsize=11)
    axes = figure.subplots()
    for curve in curves:
        colour, line, marker = CACHE_STYLES[curve.name]
        axes.plot(
            curve.n_tokens, curve.measured, color=colour, linestyle=line, label=f"{curve.name}, measured"
        )
        every = slice(None, None, max(1, len(curve.n_tokens) // 10))
        axes.plot(
            curve.n_tokens[every],
            curve.formula[every],
            marker,
            color=colour,
            fillstyle="none",
            label=f"{curve.name}, formula",
        )
    axes.set(xlabel="tokens in the context", ylabel="bytes kept, all layers")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter(unit="B"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, ncols=len(curves), fontsize="small", loc="upper left")
    return figure
