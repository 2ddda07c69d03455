"""The ranges that numbers with a fraction can have among settings and arguments: types that pydantic checks.

None is infinite. A number of numpy is one too, a yes or no is none, and neither is a text: Python would read `1_0`.
"""

import numbers
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _as_number(value: Any) -> Any:
    """numpy's numbers as Python's."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not a yes or no")
    if isinstance(value, str):
        raise ValueError("must be a number")
    try:
        return float(value) if isinstance(value, numbers.Real) else value
    except OverflowError:
        raise ValueError("must be below 1e308") from None


Number = Annotated[float, BeforeValidator(_as_number), Field(allow_inf_nan=False)]

LARGEST = 1e35  # a float32 ends at 3.4e38, and settings are multiplied with weights and rates
Positive = Annotated[Number, Field(gt=0, le=LARGEST)]
PositiveOrZero = Annotated[Number, Field(ge=0, le=LARGEST)]
AboveOne = Annotated[Number, Field(gt=1, le=LARGEST)]
Turns = Annotated[Number, Field(ge=1e-6, le=1e6)]  # of a rotation; beyond it their logarithms overflow
Share = Annotated[Number, Field(ge=0, le=1)]
Decay = Annotated[Number, Field(ge=0, lt=1)]  # how much of a running mean stays at a step
