"""Devices among arguments: a type that pydantic checks."""

from typing import Annotated, TypeVar

import torch
from pydantic import AfterValidator

D = TypeVar("D", str, torch.device)


def _is_here(device: D) -> D:
    """The device; `ValueError` where this machine and this torch have no such device."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # the second: a torch that was built without CUDA
        raise ValueError("must be a device of this machine, as cpu is") from None
    return device


AnyDevice = Annotated[str | torch.device, AfterValidator(_is_here)]
