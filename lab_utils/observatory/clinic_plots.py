"""The collapse clinic and the cache meter as figures: data in, matplotlib out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lab_utils.observatory.cache_meter import CacheCurve
from lab_utils.observatory.clinic import DEAD, METHODS, OVERLOADED, SCORINGS, ClinicTrace
from lab_utils.show.heat_map import draw_heat_map, draw_shares_over_steps, share_scale
from lab_utils.show.style import FLOOR, draw_lines, legend_below, new_figure, tidy

LINES = {
    "none": ("#D55E00", "-", ""),
    "load-balance loss": ("#0072B2", "--", ""),
    "bias update": ("#009E73", "-.", ""),
    "both": ("#000000", ":", ""),
}


def draw_clinic(trace: ClinicTrace) -> Figure:
    """The whole run at once: a panel per model, experts over steps; dark purple rows are experts that died."""
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
            image = draw_shares_over_steps(axes, load, steps[-1], largest_share(trace))
            dead = np.argwhere(load < DEAD)
            width = steps[-1] / len(steps)
            axes.plot((dead[:, 1] + 0.5) * width, dead[:, 0], "x", color="w", markersize=3)
            axes.set_title(
                f"{scoring}, {method}\nMaxVio at the end {frames[-1].max_vio:.2f}", fontsize=9, loc="left"
            )
            axes.set_yticks(range(len(load)))
    for axes in panels[-1]:
        axes.set_xlabel("step")
    for axes in panels[:, 0]:
        axes.set_ylabel("expert")
    figure.colorbar(image, ax=panels, label="share of the choices (1.0 = even)", aspect=30)
    return figure


def draw_vital_signs(trace: ClinicTrace) -> Figure:
    """MaxVio over the steps, a panel per scoring and a line per method."""
    figure = new_figure(8.0, 3.1)
    figure.suptitle("MaxVio while they learn: without balancing it climbs to the top and stays", fontsize=11)
    panels = figure.subplots(1, len(SCORINGS), sharey=True)
    for axes, scoring in zip(panels, SCORINGS):
        courses = {method: trace.course(scoring, method) for method in LINES}
        values = {method: [frame.max_vio for frame in course.frames] for method, course in courses.items()}
        draw_lines(axes, values, x=trace.steps, looks=tuple(LINES.values()))
        axes.axhline(OVERLOADED, **FLOOR)
        axes.annotate("alarm", (trace.steps[-1], OVERLOADED), ha="right", va="bottom", fontsize=8)
        axes.set_title(scoring, fontsize="medium", loc="left")
        axes.set_xlabel("step")
        tidy(axes)
    panels[0].set_ylabel("MaxVio (0 = even)")
    panels[0].set_ylim(bottom=0)
    legend_below(figure, panels[0])
    return figure


def draw_clinic_step(trace: ClinicTrace, at: int) -> Figure:
    """One moment: models x experts, the load in numbers and colour, a dead expert with a cross."""
    figure = new_figure(9.0, 3.9)
    frames = [course.frames[at] for course in trace.courses]
    figure.suptitle(f"Step {frames[0].step}: share of the choices, 1.0 = even, × = dead", fontsize=11)
    axes = figure.subplots()
    image = draw_heat_map(
        axes,
        np.array([frame.load for frame in frames]),
        share_scale(largest_share(trace)),
        words=[["×" if share < DEAD else f"{share:.2f}" for share in frame.load] for frame in frames],
        rows=[course.name for course in trace.courses],
        size=8.5,
    )
    axes.set_xlabel("expert")
    figure.colorbar(image, ax=axes, label="load (1.0 = even)", aspect=30)
    return figure


def largest_share(trace: ClinicTrace) -> float:
    """E/K: the share of an expert that every token chooses."""
    frame = trace.courses[0].frames[0]
    return len(frame.load) / len(frame.probe[0])


CACHE_STYLES = {
    "MHA": ("#E69F00", "-", "s"),
    "MLA": ("#0072B2", "--", "o"),
    "BlockLatent": ("#009E73", "-.", "^"),
    "with KDA": ("#CC79A7", ":", "D"),
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
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=len(curves), frameon=False, fontsize="small")
    return figure
