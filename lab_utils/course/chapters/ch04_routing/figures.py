"""The drawings of notebook 04."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.heat_map import draw_shares_over_steps
from lab_utils.show.style import PROBLEM_FIRST, draw_lines, new_figure, tidy


def draw_choice(scores: Tensor, bias: Tensor, top_k: int) -> Figure:
    """One token's scores with the bias stacked on them; the chosen experts are outlined."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("The bias moves the choice (outlined); the weight is the blue part alone")
    axes = figure.subplots()
    places = np.arange(len(scores))
    chosen = set((scores + bias).topk(top_k).indices.tolist())
    axes.bar(places, scores, color="#0072B2", label="score")
    axes.bar(
        places, bias.clamp(min=0), bottom=scores, color="#E69F00", hatch="//", label="bias, where it lifts"
    )
    axes.bar(places, bias.clamp(max=0), color="#999999", hatch="..", label="bias, where it lowers")
    for e in chosen:
        top = (scores[e] + bias[e].clamp(min=0)).item()
        axes.bar(e, top, fill=False, edgecolor="k", linewidth=2.2)
    axes.axhline(0, color="#444444", linewidth=0.8)
    axes.set_xticks(places)
    axes.set_xlabel("expert")
    axes.set_ylabel("score, and bias")
    axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.set_ylim(top=1.5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_loads(loads: Mapping[str, Sequence[Tensor]], every: int) -> Figure:
    """Each expert's share over the steps, a panel per way of balancing: 1.0 is even, 0.0 a dead expert."""
    figure = new_figure(9.0, 0.8 + 1.15 * len(loads))
    figure.suptitle("Who gets the tokens while the router learns: white is an even share, purple is dead")
    panels = figure.subplots(len(loads), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, history) in zip(panels, loads.items()):
        stacked = np.stack([(load / load.mean()).numpy() for load in history]).T
        n = stacked.shape[1] // every * every
        shares = stacked[:, :n].reshape(len(stacked), -1, every).mean(axis=2)
        image = draw_shares_over_steps(axes, shares, n, largest=3.0)
        axes.set_title(name, fontsize="medium", loc="left")
        axes.set_ylabel("expert")
        axes.set_yticks(range(0, len(shares), 2))
    panels[-1].set_xlabel("step")
    figure.colorbar(image, ax=list(panels), label="share of tokens (1.0 = even)", aspect=30)
    return figure


def draw_violations(violations: Mapping[str, Sequence[float]]) -> Figure:
    """MaxVio over the steps, a line per way of balancing."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("MaxVio: 0 is even, 1 means that one expert does twice its share")
    axes = figure.subplots()
    draw_lines(axes, violations, looks=PROBLEM_FIRST, markevery=0.12)
    axes.set_xlabel("step")
    axes.set_ylabel("MaxVio, mean of ten steps")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def draw_dispatch_times(
    n_experts: Sequence[int], ratios: Sequence[float], by_operations: Sequence[float]
) -> Figure:
    """How many times longer it takes to run every expert on every token than to sort, measured, and by the count of
    operations.
    """
    figure = new_figure(9.0, 2.8)
    figure.suptitle("How much longer running every expert on every token takes than sorting, measured here")
    axes = figure.subplots()
    places = np.arange(len(n_experts))
    bars = axes.bar(places, ratios, color="#56B4E9", edgecolor="#0072B2", label="time, measured")
    axes.bar_label(bars, [f"{ratio:.1f}" for ratio in ratios], padding=2, fontsize="small")
    axes.hlines(
        by_operations,
        places - 0.48,
        places + 0.48,
        color="#D55E00",
        linewidth=2.5,
        linestyle="--",
        label="operations, E/K",
    )
    axes.set_xticks(places, map(str, n_experts))
    axes.set_xlabel("experts (K = 2 chosen)")
    axes.set_ylabel("every expert / sorted")
    axes.legend(frameon=False, loc="upper left")
    axes.set_ylim(top=1.15 * max(*ratios, *by_operations))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
