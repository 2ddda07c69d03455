"""Several ranks of this machine that make one call together: torchrun as a process of ours, which never outlives us."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lab_utils.bench.rank import answer_of
from lab_utils.show.words import plural
from nanokimi.system.interpreter import check_same_tree, python
from nanokimi.system.printable import OneLineError, quote

SECONDS_TO_END = 15.0


class RanksFailed(OneLineError):
    """The ranks have ended without an answer: one line that names their log, or says what one of them refused."""


class Launch:
    """`with Launch(call, n, log) as launch: launch.answer()`: what `call()` gives on rank 0 of `n`.

    call: is pickled, so it is of a module. A rank that is lost ends the others, and all are started again, twice at
        most: a call that keeps what it has done goes on there.
    log: what torchrun and the ranks print is added to this file. Beside it stand, until the end of the block, the call
        and its answer.

    At the end of the block they are gone, and so they are where this process is killed: they end when the pipe does
    that is their standard input. Ctrl-C reaches this process alone.
    """

    def __init__(self, call: Callable[[], Any], n_ranks: int, log: Path):
        self._call, self._n_ranks, self._log = call, n_ranks, log
        self._file = log.with_suffix(".call")

    def __enter__(self) -> Launch:
        check_same_tree()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._forget()  # an earlier launch, which was killed, may have left its own
        self._file.write_bytes(pickle.dumps(self._call))
        # With a thread per core each, the ranks would wait for each other at every operation.
        threads = max(1, torch.get_num_threads() // self._n_ranks)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                python("-m", "lab_utils.bench.rank", str(self._file), str(self._n_ranks)),
                env=os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, where: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        for file in (self._file, answer_of(self._file)):
            file.unlink(missing_ok=True)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def answer(self) -> Any:
        """What the call has given, once it has; `RanksFailed` where it gives nothing."""
        code = self._process.wait()
        file = answer_of(self._file)
        value, why = None, f"the processes ended with code {code}"
        if file.exists():
            value, why = pickle.loads(file.read_bytes())
        if why:
            raise RanksFailed(f"{plural(self._n_ranks, 'rank')}: {why} (see {quote(str(self._log), 300)})")
        return value
