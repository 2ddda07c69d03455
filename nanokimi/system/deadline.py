"""Wait for a call so many seconds and no longer, on any system, in a notebook too.

The call runs on a thread of its own. Python cannot kill a thread, so there are two ways to end the wait: leave the
thread behind (a download that hangs), or raise an exception inside it (a loop without end).
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimeOver(BaseException):
    """Raised inside a call whose time is over. Not an Exception, so that `except Exception` does not stop it."""


def call_within(seconds: float, call: Callable[[], T], *, interrupt: bool = False) -> T:
    """What `call()` returns or raises; `TimeoutError` when it has not ended after `seconds`.

    A call whose time is over is left behind: its thread ends with the program at the latest. With `interrupt`,
    `TimeOver` is raised inside it first. That works between two steps of Python: a single operation of torch, or
    one wait for the network, is not cut short.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised again below, in the thread that asked
            errors.append(error)

    # The context goes along, so that what the call prints in a notebook lands under the cell that asked.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        if interrupt:
            _raise_inside(thread)
        raise TimeoutError(f"no result after {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def _raise_inside(thread: threading.Thread) -> None:
    """Put `TimeOver` into a thread, up to 20 times in 2 s: a bare `except:` in a loop may swallow it."""
    assert thread.ident is not None
    for _ in range(20):
        if not thread.is_alive():
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeOver))
        thread.join(0.1)
