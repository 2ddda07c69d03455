"""The pictures of the studies of arms: one for every question."""

from __future__ import annotations

from itertools import cycle
from statistics import fmean

from lab_utils.bench.tables import DASH
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import LOOKS, OTHER_STYLE, SERIES, legend_below, new_figure, tidy
from lab_utils.study.arms_found import ArmsFound
from lab_utils.study.tokens import find_reached
from lab_utils.study.trainings import Trained, final_losses


def tokens_picture(found: ArmsFound) -> Snapshot:
    """Left: loss over tokens of every arm at its best rate. Right: the share of tokens to the first arm's loss."""
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    reached = find_reached(found)
    lengths = sorted({each.tokens for each in reached})
    shares: dict[int, list[tuple[int, float]]] = {}
    for each in reached:
        place = [one.arm for one in reached if one.tokens == each.tokens].index(each.arm)
        colour, _, marker = LOOKS[place % len(LOOKS)]
        dashes = ("-", "--", ":")[lengths.index(each.tokens) % 3]
        points = each.seeds[0].run.points
        left.plot([p.tokens for p in points], [p.loss for p in points], dashes, color=colour, label=each.arm)
        if each.share_of_tokens is not None and place:
            shares.setdefault(place, []).append((each.tokens, each.share_of_tokens))
    for place, series in shares.items():
        colour, _, marker = LOOKS[place % len(LOOKS)]
        right.plot(*zip(*series), color=colour, marker=marker)
    left.set(xscale="log", xlabel="tokens", ylabel="validation loss (nats per token)")
    right.set(
        xscale="log",
        ylim=(0, 1),
        xlabel="tokens of the whole training",
        ylabel="share to the first's loss",
    )
    for axes in (left, right):
        tidy(axes)
    legend_below(figure, left)
    ends = ", ".join(
        f"{each.arm} {DASH if each.share_of_tokens is None else format(each.share_of_tokens, '.0%')}"
        for each in reached
    )
    return Snapshot(
        figure, f"Loss over tokens, and the share of the tokens to the first arm's final loss: {ends}."
    )


def logits_picture(found: ArmsFound) -> Snapshot:
    """Left: the largest logit over the steps, right: the loss; a line per arm and rate, with the first seed."""
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    first = min(each.run.seed for each in found.trained)
    words = []
    for each, colour in zip((one for one in found.trained if one.run.seed == first), cycle(SERIES)):
        log, label = found.log_of(each), f"{each.arm}, {each.lr:g}"
        if log.largest_logit is not None:
            left.plot(log.steps, log.largest_logit, color=colour, label=label)
            words.append(f"{label} up to {max(log.largest_logit):,.0f}")
        points = each.run.points
        right.plot([p.step for p in points], [p.loss for p in points], color=colour, label=label)
    left.set(yscale="log", xlabel="step", ylabel="largest logit")
    right.set(xlabel="step", ylabel="validation loss (nats per token)")
    for axes in (left, right):
        tidy(axes)
    legend_below(figure, right)
    return Snapshot(figure, f"The largest logit and the loss over the steps: {'; '.join(words)}.")


def evenness_picture(found: ArmsFound) -> Snapshot:
    """Left: MaxVio over the steps. Right: the loss at the end over the mean MaxVio, a mark per arm and seed."""
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    words = []
    for (arm, seeds), colour in zip(found.best().items(), cycle(SERIES)):
        logs = [found.log_of(each) for each in seeds]
        left.plot(logs[0].steps, logs[0].max_vio, color=colour, label=arm)
        right.plot([fmean(log.max_vio) for log in logs], final_losses(seeds), "o", color=colour)
        words.append(
            f"{arm} {fmean(fmean(log.max_vio) for log in logs):.2f}, loss {fmean(final_losses(seeds)):.3f}"
        )
    left.set(ylim=(0, None), xlabel="step", ylabel="MaxVio, mean of the layers")
    right.set(xlim=(0, None), xlabel="MaxVio, mean of the steps", ylabel="validation loss (nats per token)")
    for axes in (left, right):
        tidy(axes)
    legend_below(figure, left)
    return Snapshot(
        figure, f"MaxVio over the steps, and the loss at the end over its mean: {'; '.join(words)}."
    )


def sparsity_picture(found: ArmsFound) -> Snapshot:
    """The loss at the end over the number of experts, a line for each number of them that runs, and dense models."""
    figure = new_figure(6.5, 4.0)
    axes = figure.subplots()
    lines: dict[int, list[tuple[int, list[Trained]]]] = {}
    words = []
    for arm, seeds in found.best().items():
        experts = found.experts.get(arm)
        words.append(f"{arm} {fmean(final_losses(seeds)):.3f}")
        if experts is None:
            axes.axhline(fmean(final_losses(seeds)), color=OTHER_STYLE[0], linewidth=1, label=arm)
        else:
            lines.setdefault(experts.top_k, []).append((experts.n, seeds))
    for (top_k, series), (colour, dashes, marker) in zip(sorted(lines.items()), cycle(LOOKS)):
        x = [n for n, _ in series]
        losses = [final_losses(seeds) for _, seeds in series]
        label = f"{top_k} per token"
        axes.plot(x, list(map(fmean, losses)), color=colour, linestyle=dashes, marker=marker, label=label)
        axes.vlines(x, list(map(min, losses)), list(map(max, losses)), color=colour, alpha=0.5)
    axes.set_xscale("log", base=2)
    numbers = sorted({n for series in lines.values() for n, _ in series})
    axes.set_xticks(numbers, list(map(str, numbers)))
    axes.set(xlabel="experts", ylabel="validation loss (nats per token)")
    tidy(axes)
    legend_below(figure, axes)
    return Snapshot(figure, f"The loss at the end over the number of experts: {', '.join(words)}.")
