"""Where a model computes, and in which number format."""

import contextlib

import torch
from torch import Tensor

from nanokimi.config import ConfigError


def choose_device(name: str) -> torch.device:
    """The device for the setting `device`: `cpu`, `cuda`, `mps` (Apple's GPU), or `auto`: the first of CUDA, MPS, CPU.

    Raises `ConfigError` for `cuda` and `mps` on a machine without it.
    """
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(kind for kind in here if here[kind]) if name == "auto" else name
    if not here[name]:
        lack = f"this machine offers no {name.upper()} device"
        raise ConfigError(f"device={name}: {lack}; use device=cpu or auto")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format for the setting `dtype`: `float32`, `bfloat16`, or `auto`.

    `auto` is bfloat16 on a CUDA device that computes in it, which cards before Ampere do not, and float32 elsewhere.
    Raises `ConfigError` for `bfloat16` there: on a CPU without native bfloat16 a matrix product runs 40 times slower.
    """
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bfloat16" and not native:
        if device.type == "cuda":
            raise ConfigError(
                "dtype=bfloat16: this CUDA device does not compute in it; use dtype=float32 or auto"
            )
        raise ConfigError("dtype=bfloat16 needs device=cuda; elsewhere use dtype=float32 or auto")
    return torch.bfloat16 if native and name != "float32" else torch.float32


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """The number format in which a product of this tensor runs: that of `autocast` inside of it, else its own."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`. To CUDA it is copied from pinned memory, and the program does not wait for the copy."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """A block in which matrix products run in `dtype`; the weights, and what needs range, stay in float32."""
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
