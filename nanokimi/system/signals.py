"""What asks a program to end: Ctrl-C, SIGTERM and SIGHUP. The first is a wish, the second ends the program at once.

A program says with `on_stop` what the first one does: `leave_at_once` while there is nothing to lose, `raise_stopped`
where an exception cleans up, or a `Wish` that a loop reads between two steps.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

# SIGHUP comes when a terminal is closed; Windows has none.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; `exit_code` is what a shell expects then: 128 and the signal's number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def on_stop(act: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, the first signal of `SIGNALS` calls `act` with its number, in the main thread.

    From then on the operating system ends the program at the next one, without a word: whatever is being written is
    whole or not there. Without a signal the end of the block brings back what held before. `nohup` stays in force.
    """
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}
    taken = [n for n in SIGNALS if n == signal.SIGINT or before[n] is not signal.SIG_IGN]
    came = False

    def handle(number: int, _: object) -> None:
        nonlocal came
        came = True
        let_the_system_act(taken)
        act(number)

    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        if not came:
            for number in taken:
                signal.signal(number, before[number])


def raise_stopped(number: int) -> None:
    """Raise `Stopped`, so that every block that is open cleans up."""
    raise Stopped(number)


def leave_at_once(number: int) -> None:
    """End the program with a word, without any cleaning up: for the time in which modules are loaded."""
    # An exception would pass through half-loaded modules, and some of them report it as an error of their own.
    with contextlib.suppress(OSError):
        os.write(2, b"stopped\n")
    os._exit(128 + number)


class Wish:
    """`with Wish() as wish`: a signal in the block becomes the number `wish.number`, and interrupts nothing."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._block = on_stop(self._note)

    def __enter__(self) -> "Wish":
        self._block.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._block.__exit__(None, None, None)

    def _note(self, number: int) -> None:
        self.number = number


def let_the_system_act(numbers: list[signal.Signals] = SIGNALS) -> None:
    """Give signals their usual effect: the program ends. For its last moments, and for workers of a pool."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
