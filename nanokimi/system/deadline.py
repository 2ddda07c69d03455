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
    `TimeOver` is raised inside it first, also where Ctrl-C ends the wait. That works between two steps of Python: a
    single operation of torch, or one wait for the network, is not cut short.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()  # Python 3.11 takes a thread for ended where Ctrl-C ends the join()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised again below, in the thread that asked
            errors.append(error)
        finally:
            ended.set()

    # The context goes along, so that what the call prints in a notebook lands under the cell that asked.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    in_time = False
    try:
        in_time = ended.wait(seconds)
    finally:
        if interrupt and not in_time:
            _raise_inside(thread, ended)
    if not in_time:
        raise TimeoutError(f"no result after {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]


def _raise_inside(thread: threading.Thread, ended: threading.Event) -> None:
    """Put `TimeOver` into a thread, up to 20 times in 2 s: a bare `except:` in a loop may swallow it."""
    assert thread.ident is not None
    for _ in range(20):
        if ended.is_set():
            thread.join()
            return
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeOver))
        ended.wait(0.1)
