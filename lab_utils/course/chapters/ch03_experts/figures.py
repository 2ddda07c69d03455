"""The drawings of notebook 03."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.heat_map import DIVERGING, draw_heat_map
from lab_utils.show.style import new_figure, tidy

CURVES = (
    ("ReLU", torch.relu, "#E69F00", "--"),
    ("GELU", F.gelu, "#009E73", "-."),
    ("SiLU", F.silu, "#0072B2", "-"),
)


def draw_activations(low: float = -5.0, high: float = 3.0) -> Figure:
    """Three activations and their slopes."""
    figure = new_figure(9.0, 3.4)
    figure.suptitle("Three activations: the smooth ones dip below zero and keep a slope there")
    z = torch.linspace(low, high, 400, requires_grad=True)
    values, slopes = figure.subplots(1, 2)
    for name, function, colour, line in CURVES:
        y = function(z)
        (slope,) = torch.autograd.grad(y.sum(), z)
        values.plot(z.detach(), y.detach(), color=colour, linestyle=line, label=name)
        slopes.plot(z.detach(), slope, color=colour, linestyle=line, label=name)
    for axes, label in ((values, "activation"), (slopes, "its slope")):
        axes.axhline(0, color="#444444", linewidth=0.8)
        axes.set_xlabel("z")
        axes.set_ylabel(label)
        tidy(axes)
    values.legend(frameon=False)
    return figure


def draw_gating(reach: float = 4.0) -> Figure:
    """What passes a gated channel for every gate and every up: silu(gate) · up."""
    figure = new_figure(6.2, 4.6)
    figure.suptitle("The gate says how much comes through")
    axes = figure.subplots()
    line = torch.linspace(-reach, reach, 201)
    passed = F.silu(line)[None, :] * line[:, None]
    norm = TwoSlopeNorm(vmin=passed.min().item(), vcenter=0.0, vmax=passed.max().item())
    edges = (-reach, reach, -reach, reach)
    image = axes.imshow(passed, cmap=DIVERGING, norm=norm, origin="lower", extent=edges, aspect="equal")
    lines = axes.contour(line, line, passed, levels=[-8, -4, -1, 1, 4, 8], colors="k", linewidths=0.7)
    axes.clabel(lines, fontsize="small")
    axes.set_xlabel("gate")
    axes.set_ylabel("up")
    figure.colorbar(image, ax=axes, label="silu(gate) · up")
    return figure


def draw_runs(expert_of_row: Sequence[int], n_experts: int) -> Figure:
    """The rows of a batch as they come, and sorted by expert: one run per expert."""
    figure = new_figure(9.0, 2.3)
    figure.suptitle("Sorted by expert, every expert's rows lie together and become one product")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, rows, title in zip(
        panels, (list(expert_of_row), sorted(expert_of_row)), ("as they come", "sorted"), strict=True
    ):
        words = [[str(expert) for expert in rows]]
        scale = Normalize(0, n_experts - 1)
        draw_heat_map(axes, np.asarray([rows], float), scale, words=words, colours="cividis", size=10)
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
        axes.set_yticks([])
        axes.set_xticks([])
    panels[1].set_xlabel("rows; the number is the expert that a row goes to")
    return figure


def draw_fits(names: Sequence[str], errors: Sequence[Tensor]) -> Figure:
    """The error of several fits per name, a point per seed, the median as a bar."""
    figure = new_figure(9.0, 2.8)
    figure.suptitle("Fitting a product: the error of three networks with the same number of weights")
    axes = figure.subplots()
    for row, values in enumerate(errors):
        axes.plot(values, [row] * len(values), "o", color="#0072B2", alpha=0.6)
        axes.plot([values.median()] * 2, [row - 0.3, row + 0.3], color="#D55E00", linewidth=3)
        axes.text(values.median() * 1.12, row + 0.3, f"{values.median():.1g}", va="center", fontsize="small")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xscale("log")
    axes.set_xlabel("mean squared error on new points (log scale); points: seeds, bar: median")
    axes.grid(alpha=0.25, axis="x")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
