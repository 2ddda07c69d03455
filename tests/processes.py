"""Whether processes have ended."""

import time
from collections.abc import Iterable

from lab_utils.machine.linux import read_processes


def wait_for_the_end(pids: Iterable[int], seconds: float = 10.0) -> bool:
    """Whether all of them end within so many seconds. One that nobody has buried yet has ended."""
    left, deadline = set(pids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        now = read_processes()
        left = {pid for pid in left if pid in now and now[pid].state != "Z"}
        time.sleep(0.02)
    return not left
