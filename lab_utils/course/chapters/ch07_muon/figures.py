"""The drawings of notebook 07."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.style import FLOOR, PROBLEM_FIRST, draw_lines, legend_below, new_figure, tidy


def draw_circles(matrices: Mapping[str, Tensor]) -> Figure:
    """What 2 x 2 matrices make of the unit circle, one panel per matrix, with the images of the two axes as arrows."""
    figure = new_figure(9.0, 2.9)
    figure.suptitle("What a matrix makes of a circle: its singular values are the half axes")
    angle = torch.linspace(0, 2 * torch.pi, 200, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    panels = figure.subplots(1, len(matrices))
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
        x, y = matrix.double() @ circle
        axes.plot(*circle, color="#999999", linestyle=":", linewidth=1)
        axes.plot(x, y, color="#0072B2")
        for column, colour in zip(matrix.double().T, ("#D55E00", "#009E73"), strict=True):
            axes.annotate("", column.tolist(), (0, 0), arrowprops=dict(arrowstyle="->", color=colour, lw=1.6))
        s = torch.linalg.svdvals(matrix.double()).tolist()
        axes.set_title(f"{name}\nsingular values {s[0]:.2f}, {s[1]:.2f}", fontsize="medium")
        axes.set_aspect("equal")
        axes.set_xlim(-2.3, 2.3)
        axes.set_ylim(-1.6, 1.6)
        axes.grid(alpha=0.25)
    return figure


def draw_quintic(f: Callable[[Tensor], Tensor], rival: Callable[[Tensor], Tensor], steps: int) -> Figure:
    """Left: one step of the polynomial. Right: a singular value after each step, for it and for a rival."""
    figure = new_figure(9.0, 3.7)
    figure.suptitle("The quintic lifts small singular values quickly, and leaves them near 1, not at 1")
    once, often = figure.subplots(1, 2)
    s = torch.linspace(0, 1.2, 300, dtype=torch.float64)
    once.plot(s, f(s), color="#0072B2", label="quintic")
    once.plot(s, rival(s), color="#D55E00", linestyle="--", label="cubic (textbook)")
    once.plot(s, s, color="#999999", linestyle=":", label="no change")
    once.set_xlabel("singular value before")
    once.set_ylabel("after one step")
    starts = torch.tensor([0.003, 0.01, 0.03, 0.1, 0.3, 0.6], dtype=torch.float64)
    for function, (colour, line) in ((f, ("#0072B2", "-")), (rival, ("#D55E00", "--"))):
        seen = [starts]
        for _ in range(steps):
            seen.append(function(seen[-1]))
        often.plot(torch.stack(seen), color=colour, linestyle=line, marker="o", markersize=3, linewidth=1)
    often.axhspan(0.68, 1.14, color="#0072B2", alpha=0.12, linewidth=0)
    often.text(steps, 1.25, "band 0.68 to 1.14", ha="right", va="bottom", fontsize="small", color="#0072B2")
    often.set_yscale("log")
    often.set_ylim(2e-3, 2.5)
    often.set_xlabel("steps")
    often.set_ylabel("singular value (log scale)")
    once.legend(frameon=False)
    for axes in (once, often):
        tidy(axes)
    return figure


def draw_spectra(spectra: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Singular values in falling order, each list divided by its largest."""
    figure = new_figure(9.0, 3.4)
    figure.suptitle(title)
    axes = figure.subplots()
    relative = {name: torch.as_tensor(values) / values[0] for name, values in spectra.items()}
    draw_lines(axes, relative, start=1, looks=PROBLEM_FIRST)
    axes.set_yscale("log")
    axes.set_xlabel("singular value, from the largest to the smallest")
    axes.set_ylabel("size, largest = 1 (log scale)")
    axes.legend(frameon=False, loc="lower left")
    tidy(axes)
    return figure


def draw_memory(errors: Mapping[str, Sequence[float]]) -> Figure:
    """How much of every fact is still missing, over its rank of frequency, a line per optimizer."""
    figure = new_figure(9.0, 3.2)
    figure.suptitle("Half of the loss is learned: of which facts?")
    axes = figure.subplots()
    draw_lines(axes, errors, start=1, looks=PROBLEM_FIRST)
    axes.axhline(1, label="nothing learned", **FLOOR)
    axes.set_xlabel("fact, from the most frequent to the rarest (its frequency falls as 1/rank)")
    axes.set_ylabel("error left")
    axes.set_ylim(0, 1.12)
    tidy(axes)
    legend_below(figure, axes)
    return figure


def draw_schedules(rates: Mapping[str, Sequence[float]]) -> Figure:
    """Learning rates over the steps."""
    figure = new_figure(9.0, 2.9)
    figure.suptitle("Two schedules with one peak and one floor: what differs is how long the rate stays up")
    axes = figure.subplots()
    draw_lines(axes, rates, looks=PROBLEM_FIRST, marker="")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def draw_growth(
    logits: Mapping[str, Sequence[float]], losses: Mapping[str, Sequence[float]], tau: float
) -> Figure:
    """Left: the largest logit of every step, and the threshold. Right: the loss."""
    figure = new_figure(9.0, 3.6)
    figure.suptitle("The largest attention logit keeps growing unless it is clipped; the loss hardly changes")
    left, right = figure.subplots(1, 2)
    for axes, series in ((left, logits), (right, losses)):
        draw_lines(axes, series, start=1, looks=PROBLEM_FIRST, marker="", linewidth=1.2)
        axes.set_xlabel("step")
        tidy(axes)
    left.axhline(tau, label=f"tau = {tau:g}", **FLOOR)
    left.set_ylabel("largest scaled logit")
    left.set_ylim(bottom=0)
    right.set_ylabel("nats per token (mean of ten steps)")
    left.legend(frameon=False)
    return figure
