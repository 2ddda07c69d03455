"""How many tokens, and how long, an arm needs for the final loss of the first arm that is trained as long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lab_utils.bench.compare import tokens_to
from lab_utils.show.table import Table, count
from lab_utils.study.arms_found import ArmsFound, by_tokens, step_ratio, write_losses, write_or_dash
from lab_utils.study.trainings import Trained


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One arm at its best rate. Shares are those of the first arm that is trained as long; None: not reached."""

    tokens: int
    arm: str
    seeds: tuple[Trained, ...]
    share_of_tokens: float | None
    share_of_seconds: float | None


def find_reached(found: ArmsFound) -> list[Reached]:
    """All arms, by the tokens that they are trained on. A share is the mean of the seeds, where all reach it."""
    reached = []
    for tokens, arms in by_tokens(found.best()).items():
        first, theirs = next(iter(arms.items()))
        for arm, seeds in arms.items():
            share = share_to_loss(theirs, seeds)
            ratio = step_ratio(found, arm, first)
            reached.append(
                Reached(
                    tokens=tokens,
                    arm=arm,
                    seeds=tuple(seeds),
                    share_of_tokens=share,
                    share_of_seconds=None if share is None or ratio is None else share * ratio,
                )
            )
    return reached


def share_to_loss(first: Sequence[Trained], seeds: Sequence[Trained]) -> float | None:
    """The tokens until the first arm's final loss with the same seed, as a share of all tokens; None: not reached."""
    losses = {each.run.seed: each.run.final.loss for each in first}
    shares = []
    for each in seeds:
        tokens = tokens_to(each.run, losses[each.run.seed]) if each.run.seed in losses else None
        if tokens is None:
            return None
        shares.append(tokens / each.run.final.tokens)
    return fmean(shares)


def tokens_table(found: ArmsFound) -> Table:
    """A row per arm."""
    heads = ["arm", "tokens", "seeds", "rate", "val. loss\nnats/token", "tokens to the\nfirst's loss",
             "seconds\nto it", "train\nseconds"]  # fmt: skip
    rows = [
        [
            each.arm,
            count(each.tokens),
            str(len(each.seeds)),
            f"{each.seeds[0].lr:g}",
            write_losses(each.seeds),
            write_or_dash(each.share_of_tokens, ".0%"),
            write_or_dash(each.share_of_seconds, ".0%"),
            f"{fmean(one.run.train_seconds for one in each.seeds):.0f}",
        ]
        for each in find_reached(found)
    ]
    caption = (
        "Shares are those of the first arm with as many tokens. Seconds follow from steps measured in turns; those of "
        "the trainings are by the clock. Every rate is in results.json."
    )
    return Table.of(heads, rows, caption)
