"""Sharding: what a rank holds of tensors that are dealt by rows."""

import math
from collections.abc import Sequence


def bytes_held(shapes: Sequence[tuple[int, ...]], rank: int, n_ranks: int, bytes_per_number: int) -> int:
    """Bytes that `rank` of `n_ranks` holds of tensors of these shapes, each dealt by rows as FSDP2 deals them.

    Of R rows each rank has ceil(R / n_ranks), in order; the last ones have what is left, perhaps nothing. The bytes of
    a number are those of all that is kept for it: 4 for a float32 weight, 16 with its gradient and Adam's two means.
    """
    total = 0
    for n_rows, *rest in shapes:
        block = math.ceil(n_rows / n_ranks)
        total += max(0, min(block, n_rows - rank * block)) * math.prod(rest)
    return total * bytes_per_number
