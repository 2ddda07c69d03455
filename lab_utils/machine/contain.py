"""Run a task of a stranger in a process of its own, and bound what it and all its children take.

`sandbox` is what that process does first. Here it is started, watched and ended: its time, and on Linux the memory and
the number of all processes that come from it. What it answers is a file of bounded size.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lab_utils.machine import alone, linux
from lab_utils.machine.alone import BROKEN
from lab_utils.machine.preloaded import Preloaded
from lab_utils.machine.sandbox import FULL, LIMITS, OTHER_USER

ROOT = Path(__file__).resolve().parents[2]
LONGEST_OUTPUT = 32_000_000
POLL_S = 0.05
START_S = 60.0  # for Python and torch to be loaded
LEAST_FREE = 0.03  # of the machine's memory
_NUMBERS = itertools.count()  # two tasks at a time are two users


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a task and everything that it starts may take together. Memory and files in bytes."""

    seconds: float
    memory: int
    processes: int = 256
    files: int = 1_000_000_000


@dataclass(frozen=True)
class Ended:
    """What a task wrote, and why it did not come to its end: "time", "memory", ...; empty where it did."""

    output: bytes
    why: str


class NotContained(RuntimeError):
    """No task can be started here. The message is one line that says what to do."""


class Contained:
    """A running task. Use it in a `with` block: at its end nothing of the task is left.

    task: "module:function"; the function gets the input as bytes, and a function that writes a line of the output.
    environ: variables for it. It has no others of ours but those that say how many threads to use.
    preloaded: a process that has loaded what the task needs; else a new one loads it.
    """

    def __init__(
        self,
        task: str,
        bounds: Bounds,
        environ: dict[str, str] | None = None,
        level: str = "",
        preloaded: Preloaded | None = None,
    ):
        self._bounds = bounds
        self._level = level or find_level()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by __exit__
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True, prefix="nanokimi-contained-")
        self._free = shutil.disk_usage(self._folder.name).free
        home = alone.HOME if self._level == FULL else self._folder.name
        user = linux.find_unused_user(next(_NUMBERS)) if self._level == OTHER_USER else 0
        if user:
            os.chown(self._folder.name, user, user)
        given = {
            "task": task, "level": self._level, "bounds": asdict(bounds), "readable": _find_readable(), "user": user,
            "folder": self._folder.name, "parent": os.getpid(),
        }  # fmt: skip
        variables = make_environ(home, "/tmp" if self._level == FULL else home) | (environ or {})
        self._user = user
        self._process = (
            preloaded.start(given, self._output, variables)
            if preloaded
            else _start_python(given, self._output, variables)
        )
        self._seen: dict[int, linux.Process] = {}
        self._is_over = False

    def __enter__(self) -> Contained:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, where: TracebackType | None) -> None:
        self.end()
        self._output.close()
        self._folder.cleanup()

    def finish(self, data: bytes) -> Ended:
        """Give the task its input, and wait until it ends or breaks a bound. Its time runs from its first line on."""
        threading.Thread(target=self._feed, args=(data,), daemon=True).start()
        deadline, begun, why = time.monotonic() + START_S, False, ""
        while not why:
            try:
                self._process.wait(POLL_S)
                break
            except subprocess.TimeoutExpired:
                if not begun and os.fstat(self._output.fileno()).st_size > 0:
                    deadline, begun = time.monotonic() + self._bounds.seconds, True
                why = "time" if time.monotonic() > deadline else self._find_breach()
        self.end()
        self._output.seek(0)
        output, code = self._output.read(LONGEST_OUTPUT), self._process.returncode
        if not why and code:
            why = _read_reason(output) if code == BROKEN else "it died"
        return Ended(output, why)

    def _feed(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # ended, by itself or by `end`, before it had all
            self._process.stdin.write(data)
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _find_breach(self) -> str:
        if os.fstat(self._output.fileno()).st_size > LONGEST_OUTPUT:
            return "output"
        if (
            self._level != FULL
            and self._free - shutil.disk_usage(self._folder.name).free > self._bounds.files
        ):
            return "files"  # alone on the machine, they lie in a folder of that size
        if sys.platform != "linux":
            return ""
        tree = linux.find_tree(self._process.pid)
        self._seen |= tree
        if len(tree) > self._bounds.processes:
            return "processes"
        if (
            linux.sum_memory(tree, exactly=False) > self._bounds.memory
            and linux.sum_memory(tree, exactly=True) > self._bounds.memory
        ):
            return "memory"
        return "memory of the machine" if linux.share_of_free_memory() < LEAST_FREE else ""

    def end(self) -> None:
        """End everything that is left. In a world of their own all processes end with the first one."""
        if self._is_over:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if sys.platform == "linux":
            self._end_tree()
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        if self._user:
            _end_user(self._user)
        self._is_over = True

    def _end_tree(self) -> None:
        """Kill the children first: the process that was started here waits for them, and then ends by itself."""
        for _ in range(100):
            tree = {} if self._process.poll() is not None else linux.find_tree(self._process.pid)
            now = linux.read_processes()
            # Whoever has lost his parent is no longer in the tree.
            tree |= {
                p: seen
                for p, seen in self._seen.items()
                if p in now and now[p].begun == seen.begun and now[p].state != "Z"
            }
            tree.pop(self._process.pid, None)
            for pid in tree:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not tree:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_S)


def _start_python(given: dict[str, Any], output: IO[bytes], environ: dict[str, str]) -> subprocess.Popen:
    # -P: no module is taken from the current folder.
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lab_utils.machine.sandbox import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", start, json.dumps(given)],
        stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL,
        env=environ, cwd=given["folder"], start_new_session=True,
    )  # fmt: skip


# What a task meets at the system's own limits, before the grader sees that it is above them.
_ERRORS = {"BlockingIOError": "processes", "MemoryError": "memory", "OSError: [Errno 12]": "memory"}


def _read_reason(output: bytes) -> str:
    """Why a task could not be done: the last line of the traceback in the last line of its output."""
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
        reason = str(json.loads(output[-8000:].strip().split(b"\n")[-1])["broken"]).strip().splitlines()[-1]
        return next((breach for start, breach in _ERRORS.items() if reason.startswith(start)), reason)
    return "it died"


def _end_user(user: int) -> None:
    """Kill all processes of a user that was made for one task; remove its files where everybody may write."""
    for _ in range(20):
        mine = [pid for pid in linux.read_processes() if linux.owner(f"/proc/{pid}") == user]
        if not mine:
            break
        for pid in mine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        for entry in os.scandir(folder) if os.path.isdir(folder) else ():
            if linux.owner(entry.path) == user:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


# ---------------------------------------------------------------- what is possible here


@functools.cache
def find_level() -> str:
    """The strongest way in which a task can be contained here: FULL, OTHER_USER or LIMITS. Raises `NotContained`.

    Each way is tried with a task that does nothing. Root's tasks get at least another user, because root's could
    change this program.
    """
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    weaker = OTHER_USER if is_root else LIMITS
    why = ""
    for level in (FULL, weaker) if sys.platform == "linux" else (weaker,):
        with Contained(
            "lab_utils.machine.contain:say_ready", Bounds(seconds=60, memory=2**32), level=level
        ) as trial:
            ended = trial.finish(b"torch" if level == OTHER_USER else b"")
        if not ended.why and ended.output == b'"ready"\n':
            return level
        why = ended.why
    raise NotContained(
        f"as root, and without namespaces, Python and this project are not readable for another user ({why}): "
        "run it as a user that is not root, or in a container (docs/grading.md)"
        if is_root
        else f"no process can be started ({why})"
    )


def say_ready(data: bytes, write: Any) -> None:
    """The task that does nothing, but with b"torch" as its input it needs what every notebook needs."""
    if data:
        importlib.import_module(data.decode())
    write("ready")


def _find_readable() -> list[str]:
    """The folders that Python and this project need."""
    packages = [ROOT / name for name in ("lab_utils", "nanokimi")]
    places = [sys.prefix, sys.base_prefix, *map(str, packages)]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return list(dict.fromkeys(p for place in places for p in (place, os.path.realpath(place))))


def make_environ(home: str, temporary: str) -> dict[str, str]:
    """All the variables of a contained process: none of ours but those that say how many threads to use."""
    kept = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "SYSTEMROOT", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), "/usr/bin", "/bin"]),
        "HOME": home, "USER": "learner", "LOGNAME": "learner", "TMPDIR": temporary, "TEMP": temporary, "TMP": temporary,
        "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
