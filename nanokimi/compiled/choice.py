"""Whether a step is compiled, of a training or of decoding."""

import os
import shutil
import sys

import torch

from nanokimi.system.refusals import require


def choose_compile(name: str, device: torch.device) -> bool:
    """Whether to compile, for the setting `compile`: `on`, `off`, or `auto`, which is on for CUDA.

    Raises `ConfigError` for `on` where a device or a program for it is lacking. `auto` is off there.
    """
    lack = _find_lack(device)
    require(name != "on" or not lack, f"compile=on: {lack}; use compile=off or auto")
    return name == "on" or (name == "auto" and device.type == "cuda" and not lack)


def can_compile(device: torch.device) -> bool:
    """Whether nothing is missing for compiling on this device."""
    return not _find_lack(device)


def _find_lack(device: torch.device) -> str:
    """What is missing for compiling on this device; empty where nothing is."""
    if device.type not in ("cpu", "cuda"):
        return f"not for device={device.type}"
    compiler = os.environ.get("CXX") or (
        "clang++" if sys.platform == "darwin" else "g++"
    )  # as torch looks for it
    if shutil.which(compiler) is None:
        return f"this machine has no C++ compiler {compiler}, which the environment variable CXX may name"
    return ""
