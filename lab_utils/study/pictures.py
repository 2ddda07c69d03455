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
    """Of one text: the loss on facts over exposures, and the facts known at the end; bands span the seeds."""
    places = by_place(outcomes)
    ((_, n_exposures),) = {(n, e) for n, e, _ in places}
    arms = {arm: seeds for (_, _, arm), seeds in places.items()}
    figure = new_figure(9.0, 3.6)
    figure.suptitle(
        "Facts told again and again: which model still learns, and how many does it know at the end?"
    )
    left, right = figure.subplots(1, 2)
    _draw_losses(left, arms, n_exposures)
    _draw_known(right, arms)
    first = next(iter(arms.values()))[0]
    assert first.seen is not None
    left.set_title(f"{first.seen.n_facts:,} facts", fontsize="medium", loc="left")
    legend_below(figure, left)
    ends = ", ".join(f"{arm} {_mean_known(seeds, 'seen'):.0f} %" for arm, seeds in arms.items())
    alt = (
        "A line chart of the loss on facts over exposures, and a bar chart of the share of facts that each model knows "
        f"at the end. {first.seen.n_facts:,} facts after {n_exposures} exposures: {ends}."
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
