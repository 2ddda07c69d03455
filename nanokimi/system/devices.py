"""Devices: a type of arguments that pydantic checks, and what a device lacks, told in one line."""

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated, TypeVar

import torch
from pydantic import AfterValidator

from nanokimi.system.refusals import ConfigError

# What torch names where it refuses something on MPS: the operation, or the number format.
_LACK = re.compile(r"aten::[\w.]+|float64|[cC]omplex(64|128|Float|Double)|[bB][fF]loat16")

D = TypeVar("D", str, torch.device)


def _is_here(device: D) -> D:
    """The device; `ValueError` where this machine and this torch have no such device."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # the second: a torch that was built without CUDA
        raise ValueError("must be a device of this machine, as cpu is") from None
    return device


AnyDevice = Annotated[str | torch.device, AfterValidator(_is_here)]


@contextlib.contextmanager
def explain_lack(name: str) -> Iterator[None]:
    """A block that computes on the device of this name: what torch lacks there is told as a `ConfigError` of one line.

    On Apple's GPU some operations are missing, and some number formats.
    """
    try:
        yield
    except (NotImplementedError, TypeError, RuntimeError) as error:
        found = _LACK.search(str(error))
        if name not in ("mps", "auto") or found is None or "MPS" not in str(error):
            raise
        raise ConfigError(f"device=mps: this torch has no {found[0]} there; use device=cpu") from None
