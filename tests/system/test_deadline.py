"""A call that ends in time, one that is left behind, and one that is interrupted."""

import contextvars
import os
import signal
import threading
import time

import pytest

from nanokimi.system.deadline import TimeOver, call_within


def test_a_call_in_time_gives_its_result():
    assert call_within(5.0, lambda: 7) == 7
    assert call_within(5.0, lambda: None) is None


@pytest.mark.parametrize("error", [TimeoutError("slow"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("interrupt", [False, True])
def test_a_call_in_time_raises_its_own_error(error, interrupt):
    def fails():
        raise error

    with pytest.raises(type(error)) as caught:
        call_within(5.0, fails, interrupt=interrupt)
    assert caught.value is error


def test_a_call_that_hangs_is_left_behind_on_a_thread_that_ends_with_the_program():
    go_on, threads = threading.Event(), []

    def hangs():
        threads.append(threading.current_thread())
        go_on.wait(30)

    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no result after 0\.1 s"):
        call_within(0.1, hangs)
    assert time.monotonic() - started < 5
    (thread,) = threads
    assert thread.is_alive() and thread.daemon
    go_on.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("catches", [ValueError, Exception, BaseException])
def test_an_interrupted_loop_ends(catches):
    """Even one that swallows the first interruptions."""
    threads, swallowed = [], []

    def loops():
        threads.append(threading.current_thread())
        while len(swallowed) < 3:
            try:
                while True:
                    time.sleep(0.001)
            except catches as error:
                swallowed.append(type(error))

    with pytest.raises(TimeoutError):
        call_within(0.1, loops, interrupt=True)
    assert not threads[0].is_alive()
    assert swallowed == ([TimeOver] * 3 if catches is BaseException else [])


def test_a_call_runs_in_the_context_of_its_caller():
    """ipykernel finds the cell that output belongs to in a context variable."""
    cell = contextvars.ContextVar("cell")
    cell.set("In [3]")
    assert call_within(5.0, cell.get) == "In [3]"


def test_ctrl_c_ends_the_wait_and_the_call(ctrl_c):
    threads = []

    def loops():
        threads.append(threading.current_thread())
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        call_within(20.0, loops, interrupt=True)
    assert not threads[0].is_alive()
