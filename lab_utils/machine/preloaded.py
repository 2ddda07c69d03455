"""A process that has loaded what contained tasks need, and forks for each of them: tasks begin at once.

It runs no task itself. The fork becomes a child of the process that asked for it, gives its rights away and does its
task as `sandbox` does in a new process. Linux only.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lab_utils.machine import linux, sandbox

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1 << 17  # bytes of a request
POLL_S = 0.02


class Preloaded:
    """The process, in a `with` block. `modules` are imported there; `environ` is all that it has of variables."""

    def __init__(self, modules: tuple[str, ...], environ: dict[str, str]):
        self._modules, self._environ = modules, environ
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, where: TracebackType | None) -> None:
        if self._process is not None:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            self._home.cleanup()

    def _begin(self) -> None:
        """Start the process, at the first task: a class may need none."""
        linux.adopt_orphans()  # so that the forks become this process's children
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True, prefix="nanokimi-contained-")
        given = json.dumps({"modules": self._modules, "socket": theirs.fileno(), "parent": os.getpid()})
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lab_utils.machine.preloaded import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", start, given], pass_fds=[theirs.fileno()], cwd=self._home.name,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env=self._environ | {"HOME": self._home.name, "TMPDIR": self._home.name},
        )  # fmt: skip
        theirs.close()

    def start(self, given: dict[str, Any], output: IO[bytes], environ: dict[str, str]) -> Fork:
        """A fork that does the task of `given`, as `sandbox` reads it. Raises `OSError` where there is none."""
        read, write = os.pipe()
        request = json.dumps(given | {"environ": environ}).encode()
        try:
            with self._lock:
                if self._process is None:
                    self._begin()
                socket.send_fds(self._socket, [request], [read, output.fileno()])
                reply = self._socket.recv(LARGEST)
        finally:
            os.close(read)
        if not reply:
            os.close(write)
            raise OSError("the process that starts tasks has ended")
        return Fork(int(reply), open(write, "wb", buffering=0))


class Fork:
    """A started task, with what `subprocess.Popen` has of names for a process."""

    def __init__(self, pid: int, stdin: IO[bytes]):
        self.pid, self.stdin, self.returncode = pid, stdin, None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None:
                with contextlib.suppress(ChildProcessError):
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises `subprocess.TimeoutExpired`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired([], timeout or 0)
            time.sleep(POLL_S)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def serve() -> None:
    """Import the modules, then fork for each request. The one argument is JSON: `modules`, `socket`, `parent`."""
    given = json.loads(sys.argv[1])
    linux.end_with_parent(given["parent"])
    ours = socket.socket(fileno=given["socket"])
    for name in given["modules"]:
        importlib.import_module(name)
    while True:
        request, fds, _, _ = socket.recv_fds(ours, LARGEST, 2)
        if not request:
            os._exit(0)
        child = os.fork()
        if child == 0:
            # Its own child outlives it, and so goes to the process that asked.
            if os.fork() == 0:
                _become_task(json.loads(request), fds, ours, given["parent"])
            os._exit(0)
        os.waitpid(child, 0)
        for fd in fds:
            os.close(fd)


def _become_task(given: dict[str, Any], fds: list[int], ours: socket.socket, parent: int) -> None:
    try:
        os.setsid()
        while os.getppid() != parent:
            time.sleep(0.001)
        os.dup2(fds[0], 0)
        os.dup2(fds[1], 1)
        for fd in fds:
            os.close(fd)
        os.environ.clear()
        os.environ.update(given.pop("environ"))
        tempfile.tempdir = None
        ours.send(str(os.getpid()).encode())
        ours.close()
        sys.argv[1] = json.dumps(given)
        sandbox.main()
    finally:
        os._exit(1)
