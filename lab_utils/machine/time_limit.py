"""Run somebody's function for so many seconds and no longer, on any system, in a notebook too.

The function runs in a thread of its own, and an exception is put into that thread when its time is over. It
comes through between two steps of Python: a single operation of torch is not cut short.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import Any


class TimeOver(BaseException):
    """The time is over. Not an Exception, so that an `except Exception` in the function does not stop it."""


def call_within(seconds: float, function: Callable[[], Any]) -> Any:
    """What `function()` returns or raises; `TimeOver` when it has not ended after `seconds`."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, function()))
        except BaseException as error:
            outcome.append((False, error))

    # The context goes along, so that what the function prints lands under the cell that asked.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    over = thread.is_alive()
    # A bare `except:` in a loop may swallow it, so it is put in more than once.
    for _ in range(20):
        if not thread.is_alive():
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeOver))
        thread.join(0.1)
    if over:
        raise TimeOver
    returned, value = outcome[0]
    if returned:
        return value
    raise value
