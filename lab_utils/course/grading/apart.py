"""A task in a child of this process: what it breaks, replaces or leaves running ends with it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

MOST_BYTES = 32_000_000


def run_apart(task: Callable[[], Any], seconds: float) -> Any:
    """What `task` gives, plain data, from a child that is ended after `seconds`. None where it gave nothing.

    Where the system has no fork it runs in this process.
    """
    if not hasattr(os, "fork"):
        return task()
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            rest = memoryview(json.dumps(task()).encode())
            while rest:
                rest = rest[os.write(into, rest) :]
        finally:
            os._exit(0)
    os.close(into)
    try:
        data = _read(out, child, time.monotonic() + seconds)
    finally:
        os.close(out)
        _end(child)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _read(out: int, child: int, deadline: float) -> bytes:
    """What the child wrote until it ended. Its own children may hold the pipe open for ever, so its end counts."""
    data, is_over = b"", False
    while time.monotonic() < deadline and len(data) <= MOST_BYTES:
        ready, _, _ = select.select([out], [], [], 0 if is_over else 0.02)
        if ready:
            part = os.read(out, 1 << 20)
            data += part
            if not part:
                break
        elif is_over:
            break
        else:
            is_over = _has_ended(child)
    return data


def _has_ended(child: int) -> bool:
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # a notebook may let the system bury its children
        return True


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
