"""The loss over the number of experts, at equal active parameters."""

from __future__ import annotations

from lab_utils.show.table import Table, count
from lab_utils.study.arms_found import ArmsFound, step_ratio, write_losses, write_or_dash


def sparsity_table(found: ArmsFound) -> Table:
    """A row per arm at its best rate."""
    heads = ["arm", "experts", "of them\nrun", "active\nbody", "total\nbody", "seeds", "rate",
             "val. loss\nnats/token", "step, vs\nthe first"]  # fmt: skip
    best = found.best()
    first = next(iter(best), "")
    rows = []
    for arm, seeds in best.items():
        experts = found.experts.get(arm)
        rows.append(
            [
                arm,
                write_or_dash(experts.n if experts else None, "d"),
                write_or_dash(experts.top_k if experts else None, "d"),
                count(seeds[0].body_active),
                count(seeds[0].body_total),
                str(len(seeds)),
                f"{seeds[0].lr:g}",
                write_losses(seeds),
                write_or_dash(step_ratio(found, arm, first), ".2f"),
            ]
        )
    return Table.of(heads, rows, "Parameters are those of the body: without embeddings and head.")
