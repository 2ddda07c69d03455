"""How much of the long searches a run takes: a part of each, spread evenly, or with THOROUGH=1 all of it.

With a part of each `make test` takes about half an hour on two cores.
"""

import os
from collections.abc import Iterable
from typing import TypeVar

THOROUGH = bool(os.environ.get("THOROUGH"))
T = TypeVar("T")


def sample(items: Iterable[T], every: int, begin: int = 0) -> list[T]:
    """One of `every` items, from number `begin` on; all of them where the run is thorough."""
    listed = list(items)
    return listed if THOROUGH else listed[begin % every :: every]
