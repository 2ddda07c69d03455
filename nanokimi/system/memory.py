"""How much memory there is, and that freed memory stays with the process: a training step is a seventh shorter then.

A step frees the same large buffers that the next one asks for. Without this setting glibc returns them to the kernel
at once, and the kernel fills every page with zeros again when it is used next.
"""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

# What mallopt(3) calls M_TRIM_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory instead of returning it, for the whole process and from now on.

    For programs that train on a CPU, not for a library: it holds until the process ends. It costs memory, since freed
    buffers leave gaps that not every later buffer fits: a training of kimi-tiny takes 1.2 GB at its peak instead of
    1.0 GB. No number that is computed changes. Outside Linux, and where the C library has no such setting (musl),
    nothing happens.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)  # a buffer with a mapping of its own is always returned


def memory_limit() -> int | None:
    """The bytes that this process may use at most, by its machine, its container and its own limit; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # ValueError: the word "max"
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    with contextlib.suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        found += [soft] if soft != resource.RLIM_INFINITY else []
    return min(found, default=None)
