"""The memory of this process: how much it uses now, and the most that it used between two moments."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

MB = 10**6  # bytes; the lab writes sizes in powers of ten


class PeakMemory:
    """The most memory in use between `start` and `stop`, in bytes.

    On CUDA it is what torch allocated, on Linux the resident set of the process (libraries included), elsewhere None.
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
            Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is in use now
        except OSError:
            return
        self.at_start = _from_status("VmRSS")

    def stop(self) -> None:
        if self._cuda:
            self.peak = torch.cuda.max_memory_allocated()
        elif self.at_start is not None:
            self.peak = _from_status("VmHWM")


def memory_in_use() -> int | None:
    """Bytes in use now, counted as `PeakMemory` counts them; None where the machine does not tell it."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return _from_status("VmRSS") if Path("/proc/self/status").exists() else None


def _from_status(name: str) -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def _return_freed_memory() -> None:
    """Ask the C library to return freed memory, so that what one arm left behind is not counted for the next."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library: the leftovers stay, and `at_start` shows them
