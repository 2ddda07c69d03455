"""The picture of a study of facts: how the loss on them falls as they are told again and again, and what is known."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes

from lab_utils.show.snapshot import Snapshot
from lab_utils.show.style import PROBLEM_FIRST, legend_below, new_figure, tidy
from lab_utils.study.facts import fact_losses
from lab_utils.study.trial import Outcome, by_place


def facts_picture(outcomes: Sequence[Outcome]) -> Snapshot:
    """For every text a row: loss on facts over exposures, and the facts known at the end; bands span the seeds."""
    places = by_place(outcomes)
    texts = list(dict.fromkeys((n, e) for n, e, _ in places))
    figure = new_figure(9.0, 0.6 + 3.0 * len(texts))
    figure.suptitle(
        "Facts told again and again: which model still learns, and how many does it know at the end?"
    )
    parts = []
    for (n_characters, n_exposures), panels in zip(texts, figure.subplots(len(texts), 2, squeeze=False)):
        arms = {arm: seeds for (n, e, arm), seeds in places.items() if (n, e) == (n_characters, n_exposures)}
        _draw_losses(panels[0], arms, n_exposures)
        _draw_known(panels[1], arms)
        first = next(iter(arms.values()))[0]
        assert first.seen is not None
        panels[0].set_title(f"{first.seen.n_facts:,} facts", fontsize="medium", loc="left")
        ends = ", ".join(f"{arm} {_mean_known(seeds, 'seen'):.0f} %" for arm, seeds in arms.items())
        parts.append(f"{first.seen.n_facts:,} facts after {n_exposures} exposures: {ends}")
    legend_below(figure, figure.axes[0])
    alt = (
        "Line charts of the loss on facts over exposures, and bar charts of the share of facts that each model knows "
        f"at the end. {'; '.join(parts)}."
    )
    return Snapshot(figure, alt)


def _draw_losses(axes: Axes, arms: dict[str, list[Outcome]], n_exposures: int) -> None:
    for (arm, seeds), (colour, dashes, marker) in zip(arms.items(), PROBLEM_FIRST):
        points = seeds[0].run.points
        x = [n_exposures * point.tokens / points[-1].tokens for point in points]
        series = [fact_losses(each) for each in seeds]
        columns = list(zip(*series))
        axes.plot(
            x,
            list(map(fmean, columns)),
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=4,
            label=arm,
        )
        axes.fill_between(
            x, list(map(min, columns)), list(map(max, columns)), color=colour, alpha=0.2, linewidth=0
        )
    axes.set_xlabel("exposures of each fact")
    axes.set_ylabel("loss on facts (nats per token)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    tidy(axes)


def _draw_known(axes: Axes, arms: dict[str, list[Outcome]]) -> None:
    rows = [(arm, kind) for arm in arms for kind in ("seen", "held_out")]
    for row, (arm, kind) in enumerate(rows):
        colour = PROBLEM_FIRST[list(arms).index(arm)][0]
        share = _mean_known(arms[arm], kind)
        axes.barh(row, share, color=colour, alpha=1.0 if kind == "seen" else 0.5)
        axes.text(share + 1, row, f"{share:.0f} %", va="center", fontsize=9)
    words = {"seen": "as told", "held_out": "in new words"}
    axes.set_yticks(range(len(rows)), [f"{arm}, {words[kind]}" for arm, kind in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel("facts known (% of all)")
    tidy(axes)


def _mean_known(seeds: Sequence[Outcome], kind: str) -> float:
    return 100 * fmean(getattr(each, kind).known for each in seeds)
