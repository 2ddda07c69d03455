"""The drawings of notebook 02."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.heat_map import draw_heat_map
from lab_utils.show.style import draw_lines, new_figure, tidy


def draw_weights(panels: Mapping[str, Tensor], words: Sequence[str], title: str) -> Figure:
    """Attention weights as heat maps, rows are queries, columns keys; the numbers stand in the cells."""
    figure = new_figure(9.0, 3.6)
    figure.suptitle(title)
    for axes, (name, weights) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items()
    ):
        image = draw_heat_map(
            axes,
            weights.numpy(),
            Normalize(0, 1),
            words=[[f"{w:.2f}".lstrip("0") if w > 0 else "" for w in row] for row in weights.tolist()],
            rows=words,
            colours="cividis",
            size=8,
        )
        axes.set_xticks(range(len(words)), words, rotation=45, ha="right")
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("key")
    figure.axes[0].set_ylabel("query")
    figure.colorbar(image, ax=figure.axes, label="weight")
    return figure


def draw_stripe(panels: Mapping[str, Tensor], tokens: Sequence[int], title: str) -> Figure:
    """Attention weights over a text that comes twice, as heat maps without numbers; a line parts the two halves."""
    figure = new_figure(9.0, 4.6)
    figure.suptitle(title)
    names, half = [str(token) for token in tokens], len(tokens) / 2 - 0.5
    for axes, (name, weights) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        nothing = [[""] * len(tokens)] * len(tokens)
        image = draw_heat_map(
            axes,
            weights.numpy(),
            Normalize(0, 1),
            words=nothing,
            rows=names,
            columns=names,
            colours="cividis",
        )
        axes.axhline(half, color="white", linewidth=0.8, linestyle=":")
        axes.axvline(half, color="white", linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize="medium")
        axes.set(xlabel="key: the tokens in their order", ylabel="query")
    figure.colorbar(image, ax=figure.axes, label="weight")
    return figure


def draw_measurements(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log: bool = False,
) -> Figure:
    """A few curves over one axis."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle(title)
    axes = figure.subplots()
    draw_lines(axes, lines, x=x, marker="o", markersize=3)
    axes.set(xlabel=x_label, ylabel=y_label)
    if log:
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def draw_rotation(theta: Tensor, positions: Sequence[int]) -> Figure:
    """Where the vector (1, 0) of each pair points at a few positions, a circle per pair."""
    figure = new_figure(9.0, 2.5)
    figure.suptitle("Fast pairs tell neighbours apart, slow pairs tell far places apart")
    turn = torch.linspace(0, 2 * torch.pi, 100)
    for i, (axes, speed) in enumerate(zip(figure.subplots(1, len(theta)), theta.tolist())):
        axes.plot(turn.cos(), turn.sin(), color="#cccccc", linewidth=0.8)
        for t in positions:
            tip = (np.cos(speed * t), np.sin(speed * t))
            axes.annotate("", tip, (0, 0), arrowprops=dict(arrowstyle="->", color="#0072B2"))
        for group in _group_close(positions, speed):
            angle = speed * sum(group) / len(group)
            x, y = np.cos(angle), np.sin(angle)
            axes.text(
                1.1 * x,
                1.15 * y,
                _name(group),
                ha="left" if x > 0 else "right",
                va="center",
                fontsize="small",
            )
        axes.set_title(f"pair {i}: {speed:.3f} rad per token", fontsize="small")
        axes.set_aspect("equal")
        axes.set_xlim(-1.4, 1.7)
        axes.set_ylim(-1.3, 1.3)
        axes.axis("off")
    return figure


def _group_close(positions: Sequence[int], speed: float, least: float = 0.15) -> list[list[int]]:
    """Positions in groups whose arrows are less than `least` radians apart: their labels would cover each other."""
    groups = [[positions[0]]]
    for t in positions[1:]:
        if speed * (t - groups[-1][-1]) < least:
            groups[-1].append(t)
        else:
            groups.append([t])
    return groups


def _name(group: Sequence[int]) -> str:
    return str(group[0]) if len(group) == 1 else f"{group[0]} to {group[-1]}"
