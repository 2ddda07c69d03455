"""The drawings of notebook 05."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lab_utils.show.style import FLOOR, draw_lines, new_figure, tidy


def draw_cache_sizes(sizes: Mapping[str, int]) -> Figure:
    """Numbers that a layer keeps of one token, a bar per kind of attention, on a log axis."""
    figure = new_figure(9.0, 2.6)
    figure.suptitle("What one layer of K2's size keeps per token: shorter is better (log axis)")
    axes = figure.subplots()
    names = list(sizes)[::-1]
    bars = axes.barh(names, [sizes[name] for name in names], color="#56B4E9", edgecolor="#0072B2")
    for bar, name in zip(bars, names):
        if name == "MLA":
            bar.set(hatch="//", facecolor="#E69F00")
    axes.bar_label(bars, [f"{sizes[name]:,}" for name in names], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(100, 60_000)
    axes.set_xlabel("numbers per token and layer")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_rank_errors(errors: Mapping[str, Sequence[float]]) -> Figure:
    """The share of keys and values that is lost with r numbers per token, r = 0, 1, 2, ..., a line per text."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("How much is lost with r numbers per token: little, where few directions carry the most")
    axes = figure.subplots()
    draw_lines(axes, errors)
    axes.set_xlabel("rank r, numbers kept of a token")
    axes.set_ylabel("squared error, share of all")
    axes.set_xlim(0, max(map(len, errors.values())) - 1)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def draw_logits_over_distance(right: Tensor, folded: Tensor) -> Figure:
    """One query's logits with one key further and further back: rotated, and by one absorbed query for all."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("One absorbed query for all distances is right at distance 0 only")
    axes = figure.subplots()
    draw_lines(
        axes,
        {"rotation between latent and expansion": right.tolist(), "one absorbed query": folded.tolist()},
    )
    axes.set_xlabel("distance t - s, tokens")
    axes.set_ylabel("logit before the scale")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    tidy(axes)
    return figure


def draw_noise_losses(losses: Mapping[str, Sequence[float]], floor: float) -> Figure:
    """Training losses on pure noise, a line per layer, with the least possible loss without a view of the future."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("Training on pure noise: a loss below the dotted line has seen the answers")
    axes = figure.subplots()
    draw_lines(axes, losses, markevery=0.1)
    axes.axhline(floor, label=f"ln 4 = {floor:.3f}", **FLOOR)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per token")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    tidy(axes)
    return figure


def draw_visibility(visible: Tensor, block_len: int, n_latents: int) -> Figure:
    """The mask of the block form: latents left, tokens right, a coloured square with a dot where a token looks."""
    seq_len, n_columns = visible.shape
    n_z = n_columns - seq_len
    figure = new_figure(8.4, 4.6)
    figure.suptitle("Who sees what: summaries of earlier blocks (left), tokens of the own block (right)")
    axes = figure.subplots()
    kind = np.where(np.arange(n_columns) < n_z, 1, 2) * visible.numpy()
    colours = np.array([[1, 1, 1], [0.902, 0.624, 0], [0.337, 0.706, 0.914]])
    axes.imshow(colours[kind], aspect="equal")
    rows, columns = visible.numpy().nonzero()
    axes.plot(columns, rows, ".", color="k", markersize=3)
    axes.axvline(n_z - 0.5, color="k", linewidth=1.5)
    for edge in range(block_len, seq_len, block_len):
        axes.axhline(edge - 0.5, color="#444444", linewidth=0.8, linestyle=":")
    names = [f"Z{i // n_latents}" for i in range(n_z)] + [str(s) for s in range(seq_len)]
    axes.set_xticks(range(n_columns), names, fontsize="small")
    axes.set_yticks(range(seq_len))
    axes.set_xlabel("latents of block 0, 1, ... and tokens s")
    axes.set_ylabel("token t that reads")
    axes.legend(
        handles=[
            Patch(facecolor=colours[1], edgecolor="k", label="a latent is seen"),
            Patch(facecolor=colours[2], edgecolor="k", label="a token is seen"),
        ],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
    )
    return figure
