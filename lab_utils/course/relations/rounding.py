"""Wrong numbers that are as near the right ones as rounding to a short format brings them, or have another format.

As in `likeness`, what is said is computed on every pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lab_utils.course.differences import equal_tensors
from lab_utils.course.relations.pairs import NEAR, Pair, same


def format_only(pairs: Sequence[Pair]) -> str:
    """The very numbers: brought to the right format, the check would accept them."""
    right = all(
        pair.converted is not None
        and same(pair.right, pair.got, pair.room)
        and equal_tensors(pair.right, pair.converted, pair.tolerance)
        for pair in pairs
    )
    return "the numbers are right, and only their format is not" if right else ""


def rounded_on_the_way(pairs: Sequence[Pair]) -> str:
    """That numbers are off by no more than rounding may do, in every row, and by how much that is."""
    if not all(pair.is_near and pair.short for pair in pairs):
        return ""
    worst = 0.0
    for pair in pairs:
        got = pair.got if pair.converted is None else pair.converted
        off, size = (got - pair.right).abs(), pair.right.abs()
        rows = (off.amax(-1), size.amax(-1)) if off.ndim else (off, size)
        if not bool(off.isfinite().all()) or bool((rows[0] > NEAR * pair.room * rows[1]).any()):
            return ""
        if off.any():
            worst = max(worst, float(off.max() / size.max()))
    if not worst:
        return ""
    named = " or ".join(sorted({str(pair.short).removeprefix("torch.") for pair in pairs}))
    says = (
        f"the numbers are off by at most {_percent(worst)} of the largest, as rounding to {named} may do: "
        "look at what is rounded on the way, and at what is not"
    )
    return f"besides the format, {says}" if any(pair.converted is not None for pair in pairs) else says


def _percent(part: float) -> str:
    """A part in percent, with one digit, rounded up: "0.4 %"."""
    unit = 10.0 ** math.floor(math.log10(100 * part))
    return f"{math.ceil(100 * part / unit) * unit:.2g} %"
