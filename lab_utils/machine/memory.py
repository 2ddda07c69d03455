"""The memory of this process: what is in use now, and the most between two moments."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

MIB = 1 << 20


class PeakMemory:
    """The most memory in use between `start` and `stop`, in bytes.

    On CUDA what torch allocated; on Linux the process's resident set, libraries included; elsewhere None.
    """

    def __init__(self, device: str):
        self._cuda = device != "cpu" and torch.cuda.is_available()
        self.at_start: int | None = None
        self.peak: int | None = None

    def start(self) -> None:
        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.at_start = torch.cuda.memory_allocated()
            return
        _return_freed_memory()
        try:
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is in use now
        except OSError:
            return
        self.at_start = _from_status("VmRSS")

    def stop(self) -> None:
        if self._cuda:
            self.peak = torch.cuda.max_memory_allocated()
        elif self.at_start is not None:
            self.peak = _from_status("VmHWM")


def memory_in_use() -> int | None:
    """Bytes in use now, counted as `PeakMemory` counts them; None where the machine does not tell."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return _from_status("VmRSS") if Path("/proc/self/status").exists() else None


def _from_status(name: str) -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def _return_freed_memory() -> None:
    """Ask the C library to give freed memory back, so that one arm's leftovers are not counted to the next."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library: the leftovers stay, and `at_start` shows them
