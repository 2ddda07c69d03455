"""The ranges that whole numbers among settings and arguments can have: types that pydantic checks.

A whole number of numpy is one too; a yes or no is none, though Python takes it for 1 or 0, and neither is a text of
digits: Python would read `1_0` as 10.
"""

import numbers
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _as_whole(value: Any) -> Any:
    """numpy's whole numbers as Python's; no yes, no or text that Python would take for a number."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not a yes or no")
    if isinstance(value, str):
        raise ValueError("must be a whole number")
    return int(value) if isinstance(value, numbers.Integral) else value


Whole = Annotated[int, BeforeValidator(_as_whole)]

# More than any machine does; beyond it stand slips of a finger and hostile files.
Count = Annotated[Whole, Field(ge=1, le=10**18)]
CountOrZero = Annotated[Whole, Field(ge=0, le=10**18)]
Length = Annotated[Whole, Field(ge=1, le=10**9)]  # of a sequence or a text
Layers = Annotated[Whole, Field(ge=1, le=1000)]
# Of a tensor. The product of three of them can still be counted in 64 bits.
Size = Annotated[Whole, Field(ge=1, le=10**6)]
SizeOrZero = Annotated[Whole, Field(ge=0, le=10**6)]
Seed = Annotated[Whole, Field(ge=-(2**63), lt=2**64)]  # what torch's generators take
