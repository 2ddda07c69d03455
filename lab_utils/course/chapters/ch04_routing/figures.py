"""The drawings of notebook 04."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lab_utils.show.drawing import Drawing
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


def draw_lesson(exposures: Sequence[float], losses: Mapping[str, Sequence[float]]) -> Figure:
    """The loss on facts over the exposures of each fact, a line per model; the first one is dense."""
    figure = new_figure(9.0, 3.0)
    figure.suptitle("Told again and again: which model still learns facts?")
    axes = figure.subplots()
    draw_lines(axes, losses, x=exposures, looks=PROBLEM_FIRST)
    axes.set_xlabel("exposures of each fact")
    axes.set_ylabel("loss on facts (nats per token)")
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


ROW, TOKEN_GAP, RUN_GAP = 16, 6, 24  # heights: a row, the space after a token and before the run of an expert
DASHES = (
    "",
    "6 2",
    "2 2",
    "8 2 2 2",
)  # of the lines of an expert, for those who cannot tell the colours apart


def draw_dispatch(expert_idx: Tensor, n_experts: int) -> Drawing:
    """Which row of which token goes into which expert's run, and back. expert_idx: (tokens, top_k)."""
    n_tokens, top_k = expert_idx.shape
    pairs = expert_idx.flatten()
    order = pairs.argsort(stable=True).tolist()
    counts = torch.bincount(pairs, minlength=n_experts).tolist()
    tokens_height = n_tokens * (top_k * ROW + TOKEN_GAP)
    height = 52 + max(tokens_height, len(order) * ROW + n_experts * RUN_GAP)
    said = []
    for e in range(n_experts):
        got = ", ".join(str(i // top_k) for i in order if pairs[i] == e)
        said.append(f"expert {e} gets {f'tokens {got}' if got else 'no token'}")
    sheet = Drawing(
        800, height, f"{n_tokens} tokens choose {top_k} of {n_experts} experts each: {'; '.join(said)}."
    )
    for x, title in (
        (14, f"by token: pair i is token i // {top_k}"),
        (328, "sorted: a run per expert"),
        (612, "back, weighted, added"),
    ):
        sheet.note(x, 22, title, "title")
    at_token = {}
    for i in range(len(order)):
        y = 36 + i // top_k * (top_k * ROW + TOKEN_GAP) + i % top_k * ROW
        if i % top_k == 0:
            sheet.note(14, y + top_k * ROW / 2 + 4, f"x {i // top_k}", "small")
            sheet.note(786, y + top_k * ROW / 2 + 4, f"y {i // top_k}", "small", "end")
        sent = sheet.box(48, y, 138, ROW, [("quiet", f"pair {i}: expert {pairs[i]}")], fill="plain")
        back = sheet.box(614, y, 132, ROW, [("quiet", f"w · out of pair {i}")], fill="plain")
        at_token[i] = sent, back
    y, place = 36, 0
    for e, count in enumerate(counts):
        says = f"expert {e}: places {place} to {place + count - 1}" if count else f"expert {e}: no row"
        sheet.note(400, y + 12, says, "small", "middle")
        y += RUN_GAP - 6
        for i in order[place : place + count]:
            row = sheet.box(328, y, 144, ROW, [("quiet", f"pair {i}: x {i // top_k}")], fill="experts")
            sent, back = at_token[i]
            sheet.curve(sent.right, row.left, f"run{e % 4}", DASHES[e % 4])
            sheet.curve(row.right, back.left, f"run{e % 4}", DASHES[e % 4])
            y += ROW
        y, place = y + 6, place + count
    sheet.note(14, height - 8, f"bank(rows, counts) with counts = {counts}", "small")
    return sheet
