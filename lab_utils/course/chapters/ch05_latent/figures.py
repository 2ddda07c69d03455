"""The drawings of notebook 05."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lab_utils.show.drawing import Drawing
from lab_utils.show.style import FLOOR, draw_lines, new_figure, tidy
from nanokimi.config import KimiConfig, MLAConfig
from nanokimi.rope import yarn_mscale


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


# Where the three ways of one token through the layer stand: left and width of a box.
QUERY, ROPE, LATENT, KEYS, VALUES = (14, 204), (236, 150), (404, 382), (404, 176), (610, 176)
ROWS = (14, 72, 146, 208, 266, 332, 394, 452)
BOX_HEIGHT = 40


def draw_dataflow(cfg: KimiConfig) -> Drawing:
    """How one token goes through latent attention, with the shapes of a configuration; dashed: while decoding."""
    mla = cfg.mla or MLAConfig()
    d, heads, rank = f"{cfg.d_model:,}", cfg.n_heads, mla.kv_lora_rank
    nope, rope, v, low = mla.qk_nope_head_dim, mla.qk_rope_head_dim, mla.v_head_dim, mla.q_lora_rank
    scale = (nope + rope) ** -0.5 * yarn_mscale(cfg.rope.yarn) ** 2
    kept, mixed = f"{rank} + {rope} = {rank + rope}", f"{heads} · {v} = {heads * v:,}"
    sheet = Drawing(
        800,
        548,
        f"One token in latent attention. From x, {d} numbers, come the query, {heads} heads of {nope} + {rope}, the "
        f"latent c of {rank} numbers and the rope key of {rope}. c and the rope key are cached: {kept} numbers. In "
        f"training c is expanded to {heads} · {nope} key and {heads} · {v} value channels; then come softmax, the mean "
        f"of the values, and the way back to {d}. In decoding the query meets c itself, and no key is made.",
    )

    def box(row: int, place: tuple[int, int], title: str, shape: str, fill: str = "attention"):
        return sheet.box(
            place[0], ROWS[row], place[1], BOX_HEIGHT, [("title", title), ("small", shape)], fill=fill
        )

    sheet.frame(ROPE[0] - 10, ROWS[2] - 24, 570, BOX_HEIGHT + 32)
    sheet.note(ROPE[0] + 86, ROWS[2] - 9, f"the cache: {kept} per token and layer", "second", room=260)
    x = box(0, (14, 772), "x, the normed stream", d, "plain")
    down = box(1, (ROPE[0], 550), "W_DKV: down", f"{d} → {rope} + {rank}")
    key = box(2, ROPE, "k_rope, turned by R", f"{rope}, for all heads")
    c = box(2, LATENT, "c, normed", str(rank))
    up_k = box(3, KEYS, "W_UK: up", f"{rank} → {heads} · {nope}")
    up_v = box(3, VALUES, "W_UV: up", f"{rank} → {heads} · {v}")
    k_nope = box(4, KEYS, "k_nope", f"{heads} · {nope}")
    values = box(4, VALUES, "v", f"{heads} · {v}")
    if low is None:
        query = [box(1, QUERY, "W_Q", f"{d} → {heads} · ({nope} + {rope})")]
    else:
        query = [
            box(1, QUERY, "W_DQ: down", f"{d} → {low:,}"),
            box(2, QUERY, "query latent, normed", f"{low:,}"),
            box(3, QUERY, "W_UQ: up", f"{low:,} → {heads} · ({nope} + {rope})"),
        ]
    query.append(box(4, QUERY, "q_nope ; q_rope turned by R", f"{heads} · ({nope} + {rope})"))
    formula = "softmax of scale · (q_nope · k_nope + q_rope · k_rope)"
    weights = box(5, (14, 566), formula, f"{heads} heads, scale {scale:.6f}", "router")
    mean = box(6, (14, 772), "mean of v, by these weights", mixed, "plain")
    out = box(7, (14, 772), "W_O", f"{heads * v:,} → {d}")

    for below in (query[0], down):
        sheet.arrow((below.top[0], x.bottom[1]), below.top)
    for above, below in pairwise(query):
        sheet.arrow(above.bottom, below.top)
    for taken in (key, c):
        sheet.arrow((taken.top[0], down.bottom[1]), taken.top)
    for matrix, made in ((up_k, k_nope), (up_v, values)):
        sheet.arrow((matrix.top[0], c.bottom[1]), matrix.top)
        sheet.arrow(matrix.bottom, made.top)
    for read in (query[-1], key, k_nope):
        sheet.arrow(read.bottom, (read.bottom[0], weights.y))
    for given in (weights, values):
        sheet.arrow(given.bottom, (given.bottom[0], mean.y))
    sheet.arrow(mean.bottom, out.top)
    # c itself, past both expansions: as the key of all heads, and as their value.
    middle = (c.bottom[0], c.bottom[1])
    sheet.arrow(middle, (middle[0], weights.right[1]), weights.right, ink="second", dashes="5 3")
    sheet.arrow((middle[0], weights.right[1]), (middle[0], mean.y), ink="second", dashes="5 3")
    folded = f"W_UK is put into the query ({heads} · {rank}), W_UV behind the mean; nothing is expanded."
    sheet.note(
        14, 514, "Training: the solid lines. Decoding: the dashed line in place of W_UK and W_UV.", "second"
    )
    sheet.note(14, 532, folded, "second")
    return sheet
