"""Runs inside a new process: it gives its rights away, takes its limits, and then does one task of a stranger.

`contain` is the side that starts, watches and ends it. What is imported here needs nothing but Python's own modules.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lab_utils.machine import linux
from lab_utils.machine.alone import give_up, run_alone, run_child

# How a task is contained. FULL: alone on the machine. OTHER_USER: as a user that owns nothing. LIMITS: no more.
FULL, OTHER_USER, LIMITS = "full", "other user", "limits"


def main() -> None:
    """The one argument is JSON: `task`, `level`, `bounds`, `readable`, `folder`, `user`, `parent` (see `contain`)."""
    given = json.loads(sys.argv[1])
    bounds = given["bounds"]

    def do(processes: int) -> None:
        _limit(bounds, processes)
        _do(given["task"])

    def do_as_other_user(processes: int) -> None:
        if given["level"] == OTHER_USER:
            linux.become(given["user"])
        linux.drop_rights()
        do(processes)

    try:
        os.chdir(given["folder"])
        if sys.platform != "linux":
            do(bounds["processes"])
        linux.end_with_parent(given["parent"])
        # The limit counts what the user already has; a user that is made for the task has nothing.
        processes = bounds["processes"] + (linux.count_threads_of(os.getuid()) if os.getuid() else 0)
        if given["level"] == FULL:
            os._exit(
                run_alone(Path(given["folder"]), given["readable"], bounds["files"], lambda: do(processes))
            )
        linux.adopt_orphans()
        code = run_child(lambda: do_as_other_user(processes))
        _end_children()
        os._exit(code)
    except Exception:
        give_up(1)


def _end_children() -> None:
    """Kill the children of this process, and theirs, which become its own, until there are none."""
    for _ in range(1000):
        for pid in linux.find_tree(os.getpid()):
            if pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _limit(bounds: dict[str, Any], processes: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    def limit(which: int, value: int) -> None:
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, bounds["files"])
    limit(resource.RLIMIT_NOFILE, 1024)
    if sys.platform == "linux":
        # Data, not address space: torch reserves far more addresses than it ever uses.
        limit(resource.RLIMIT_DATA, bounds["memory"])
        limit(resource.RLIMIT_NPROC, processes)
        # Where the machine's memory ends, the system ends this process first.
        Path("/proc/self/oom_score_adj").write_text("1000")


def _do(task: str) -> NoReturn:
    """Call the task with the input and a function that writes a line of the output; all other output is lost."""
    out = os.dup(1)

    def write(line: Any) -> None:
        rest = memoryview((json.dumps(line) + "\n").encode())
        while rest:
            rest = rest[os.write(out, rest) :]

    try:
        data = sys.stdin.buffer.read()
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        module, name = task.split(":")
        function: Callable[[bytes, Callable[[Any], None]], None] = getattr(
            importlib.import_module(module), name
        )
        function(data, write)
    except BaseException:
        give_up(out)
    os._exit(0)
