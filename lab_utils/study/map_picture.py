"""The picture of a map of facts: what each model knows, over the exposures, a panel per number of facts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from statistics import fmean

from matplotlib.axes import Axes

from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import PROBLEM_FIRST, legend_below, new_figure, tidy
from lab_utils.study.trial import Outcome, by_place


def map_picture(outcomes: Sequence[Outcome]) -> Snapshot:
    """For every number of facts a panel, for every arm a line: facts known as told, each at its best rate."""
    places = by_place(outcomes)
    sizes = list(dict.fromkeys(n for n, _, _ in places))
    figure = new_figure(4.0 * len(sizes), 3.8)
    figure.suptitle("The same text more often, and more facts in it: which model knows how many?")
    words = []
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0], sizes):
        lines: dict[str, dict[int, list[Outcome]]] = {}
        for (n, exposures, arm), seeds in places.items():
            if n == size:
                lines.setdefault(arm, {})[exposures] = seeds
        n_facts = _draw(axes, lines)
        axes.set_title(f"{n_facts:,} facts", fontsize="medium", loc="left")
        for arm, line in lines.items():
            ends = ", ".join(f"{_known(seeds):.0f} %" for _, seeds in sorted(line.items()))
            words.append(f"{n_facts:,} facts, {arm}: {ends}")
    figure.axes[0].set_ylabel("facts known (% of all)")
    legend_below(figure, figure.axes[0])
    return Snapshot(figure, f"Facts known over the exposures. {'; '.join(words)}.")


def _draw(axes: Axes, lines: dict[str, dict[int, list[Outcome]]]) -> int:
    """The lines of one panel; how many facts its text has."""
    ticks: set[int] = set()
    for (arm, line), (colour, dashes, marker) in zip(lines.items(), cycle(PROBLEM_FIRST)):
        x = sorted(line)
        axes.plot(x, [_known(line[n]) for n in x], color=colour, linestyle=dashes, marker=marker, label=arm)
        ticks.update(x)
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [str(n) for n in sorted(ticks)])
    axes.minorticks_off()
    axes.set_xlabel("exposures of each fact")
    axes.set_ylim(0, 104)
    tidy(axes)
    first = next(seeds[0] for line in lines.values() for seeds in line.values())
    assert first.seen is not None
    return first.seen.n_facts


def _known(seeds: Sequence[Outcome]) -> float:
    return 100 * fmean(each.seen.known for each in seeds if each.seen)
