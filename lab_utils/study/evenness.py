"""What imbalance costs as waiting time, if the experts were spread over ranks, and what evenness costs in loss."""

from __future__ import annotations

from statistics import fmean

from lab_utils.show.table import Table
from lab_utils.study.arms_found import ArmsFound, write_losses, write_or_dash
from lab_utils.study.logged import RANKS


def evenness_table(found: ArmsFound) -> Table:
    """A row per arm at its best rate, means over the seeds."""
    heads = ["arm", "seeds", "rate", "val. loss\nnats/token", "MaxVio at\nthe end", "dead experts\nper layer",
             *(f"waiting,\n{n} ranks" for n in RANKS)]  # fmt: skip
    rows = []
    for arm, seeds in found.best().items():
        logs = [found.log_of(each) for each in seeds]
        rows.append(
            [
                arm,
                str(len(seeds)),
                f"{seeds[0].lr:g}",
                write_losses(seeds),
                f"{fmean(log.max_vio[-1] for log in logs):.2f}",
                f"{fmean(log.dead for log in logs):.1f}",
                *(
                    write_or_dash(
                        fmean(log.waiting[n] for log in logs) if n in logs[0].waiting else None, ".0%"
                    )
                    for n in RANKS
                ),
            ]
        )
    caption = (
        "Waiting: of a rank in the mean, as a share of the time that its experts would take at an even load."
    )
    return Table.of(heads, rows, caption)
