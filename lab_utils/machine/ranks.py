"""Processes of this machine that form a group of torch.distributed, in a `with` block that leaves none of them behind.

A rank is a process with a number. Each does the same call, and they exchange tensors through gloo, torch's own way
between processes of CPUs.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

SECONDS = 60.0


class Ranks:
    """`n_ranks` processes, in a `with` block: at its end, after an error or an interrupt too, they are gone.

    Each call, and each exchange within it, may take `seconds`. The processes are forked from one that has loaded torch
    and `modules`, once for all ranks; the first use in a program starts it, and it ends with the program. Linux is
    tested, Windows has no such fork.
    """

    def __init__(self, n_ranks: int, seconds: float = SECONDS, modules: Sequence[str] = ()):
        self._n_ranks, self._seconds, self._modules = n_ranks, seconds, modules
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Ranks:
        self._folder = tempfile.TemporaryDirectory(prefix="nanokimi-ranks-", ignore_cleanup_errors=True)
        place = os.path.join(self._folder.name, "meeting")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.distributed", *self._modules])
        try:
            for rank in range(self._n_ranks):
                ours, theirs = context.Pipe()
                self._pipes.append(ours)
                given = (rank, self._n_ranks, place, self._seconds, theirs)
                process = context.Process(target=_serve, args=given, daemon=True)
                self._processes.append(process)
                process.start()
                theirs.close()  # so that each side notices when the other one ends
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, where: TracebackType | None) -> None:
        self.end()

    def run(self, function: Callable, *args: Any) -> list[Any]:
        """What `function(*args)` returns on each rank, which its `dist.get_rank()` tells, by rank.

        `function` is one of a module: another process cannot be given one of a notebook. Raises `RuntimeError` where a
        rank raises or dies, and `TimeoutError` where one gives no result in time; all ranks are then ended.
        """
        try:
            task = pickle.dumps((function, args))
            for rank, pipe in enumerate(self._pipes):
                try:
                    pipe.send_bytes(task)
                except OSError:
                    raise RuntimeError(f"rank {rank} has ended") from None
            return self._collect()
        except BaseException:
            self.end()
            raise

    def _collect(self) -> list[Any]:
        results, pending = {}, dict(enumerate(self._pipes))
        deadline = time.monotonic() + self._seconds
        while pending:
            ready = wait(pending.values(), timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                names = ", ".join(map(str, pending))
                raise TimeoutError(
                    f"no result from rank {names} of {self._n_ranks} within {self._seconds:g} s"
                )
            for rank in [rank for rank, pipe in pending.items() if pipe in ready]:
                try:
                    done, value = pickle.loads(pending.pop(rank).recv_bytes())
                except (EOFError, OSError):
                    raise RuntimeError(f"rank {rank} of {self._n_ranks} has died") from None
                if not done:
                    raise RuntimeError(f"rank {rank} of {self._n_ranks}: {value}")
                results[rank] = value
        return [results[rank] for rank in range(self._n_ranks)]

    def end(self) -> None:
        """End all processes at once: a rank that waits for another one listens to nothing else."""
        for process in self._processes:
            if process.pid is not None:
                process.kill()
        for process in self._processes:
            if process.pid is not None:
                process.join()
        for pipe in self._pipes:
            pipe.close()
        self._folder.cleanup()
        self._processes, self._pipes = [], []


def _serve(rank: int, n_ranks: int, place: str, seconds: float, pipe: Connection) -> None:
    """What a process does: join the group, then do each task that comes, until the other side closes."""
    # An interrupt of a notebook reaches all processes; the one that started them ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # gloo tells whom it is connected to, and a notebook would show it
        os.dup2(silent, stream)
    torch.set_num_threads(1)  # the ranks are the threads
    for _, name in socket.if_nameindex():
        if name in ("lo", "lo0"):  # no other machine can connect
            os.environ["GLOO_SOCKET_IFNAME"] = name
    joined = False
    while True:
        try:
            function, args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            if not joined:
                store = dist.FileStore(place, n_ranks)
                limit = timedelta(seconds=seconds)
                dist.init_process_group("gloo", store=store, rank=rank, world_size=n_ranks, timeout=limit)
                joined = True
            answer = True, function(*args)
        except Exception as error:
            answer = False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        pipe.send_bytes(pickle.dumps(answer))
