"""How large attention's logits become in each arm, at every rate, and what it ends at."""

from __future__ import annotations

from lab_utils.show.table import Table
from lab_utils.study.arms_found import ArmsFound, write_or_dash


def logits_table(found: ArmsFound) -> Table:
    """A row per arm, rate and seed: the best rate alone would leave out where logits run away."""
    heads = ["arm", "rate", "seed", "largest\nlogit", "in the last\nsteps", "val. loss\nnats/token"]
    rows = []
    for each in found.trained:
        logits = found.log_of(each).largest_logit
        ended = (
            f"{each.run.final.loss:.3f}" if each.run.complete else f"diverged\nat step {each.run.diverged_at}"
        )
        rows.append(
            [
                each.arm,
                f"{each.lr:g}",
                str(each.run.seed),
                write_or_dash(max(logits) if logits else None, ",.0f"),
                write_or_dash(logits[-1] if logits else None, ",.0f"),
                ended,
            ]
        )
    return Table.of(heads, rows, "Logits before the softmax, the largest of all layers and heads.")
