"""A program from its first line to its exit code: whatever ends it from outside is one line, never a traceback."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from nanokimi.system import signals
from nanokimi.system.printable import one_line, quote, show_every_letter

BAD_INPUT = 2
BROKEN_PIPE = 141  # what a shell shows for a program that SIGPIPE has ended

Command = Callable[[list[str]], int]  # from the words of a command line to an exit code


def run_program(name: str, load: Callable[[], Command]) -> NoReturn:
    """Run the command that `load()` imports on the words of the command line, and exit with its code.

    Loading torch takes a second or more, so `load` imports it only after the signals are taken.
    """
    _open_closed_streams()
    show_every_letter()
    with signals.on_stop(signals.leave_at_once):
        command = load()
    with signals.on_stop(signals.raise_stopped):
        code = call(name, command, sys.argv[1:])
    signals.let_the_system_act()  # in its last moments the program has nothing to lose
    sys.exit(code)


def call(name: str, command: Command, words: list[str]) -> int:
    """The exit code of `command(words)`. What a user can correct is one line on stderr and code 2."""
    try:
        code = command(words)
        sys.stdout.flush()
    except BrokenPipeError:  # `nanokimi presets | head -1`: the reader has seen enough
        code = BROKEN_PIPE
    except ValueError as error:
        code = _tell(name, error, BAD_INPUT)
    except OSError as error:
        place = (
            f"{quote(str(error.filename))} cannot be read or"
            if error.filename
            else "what is printed cannot be"
        )
        code = _tell(name, f"{place} written: {error.strerror or error}", BAD_INPUT)
    except signals.Stopped as stopped:
        code = _tell(name, "stopped", stopped.exit_code)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads, or a full disk: Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _open_closed_streams() -> None:
    """Give a program that was started without stdin, stdout or stderr, as from cron, empty ones.

    The next file that is opened would take their number, and get what is meant for a terminal.
    """
    for number, stream, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
        if getattr(sys, stream) is None:
            setattr(sys, stream, os.fdopen(number, mode, closefd=False))


def _tell(name: str, message: object, code: int) -> int:
    with contextlib.suppress(OSError):  # the terminal is gone
        print(f"{name}: {one_line(message)}", file=sys.stderr, flush=True)
    return code
