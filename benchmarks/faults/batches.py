"""Tries in a process of their own, one after another, so that a death, a hang and eaten memory are seen and counted.

A kind of fault has `prepare(folder)`, which makes what every try begins with, and `try_one(folder, draw)`, which makes
one fault from a random generator and returns what was wrong with how it ended; nothing where it was survived.
"""

import importlib
import os
import random
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from nanokimi.system.printable import one_line

LIMIT_S, HANG_S = 2.0, 60.0
MEMORY = 500_000_000  # bytes that one try may add to the process
ADDRESSES = 12 << 30  # bytes of addresses that the process may have; torch alone maps some gigabytes
LONGEST_LINE = 600


def run_in_batches(
    kind: str, tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]
) -> Outcome:
    """The outcome of `tries` tries of the module `kind` of this folder."""
    lost: list[str] = []
    done = 0
    while done < tries:
        worker = _start(kind, seed, folder, done, tries)
        assert worker.stdout is not None
        end = ""
        while True:
            ready, _, _ = select.select([worker.stdout], [], [], HANG_S)
            line = worker.stdout.readline() if ready else ""
            if not line:
                end = "" if ready else f"no end after {HANG_S:g} s"
                break
            number, _, verdict = line.rstrip("\n").partition(" ")
            done = int(number) + 1
            if verdict:
                lost.append(f"try {number} of seed {seed}: {verdict}")
            on_progress(done)
        worker.kill() if end else None
        code = worker.wait()
        worker.stdout.close()
        if done < tries:
            lost.append(f"try {done} of seed {seed}: {end or f'the process ended with {code}'}")
            done += 1
    return Outcome(tries, tries - len(lost), lost)


def _start(kind: str, seed: int, folder: Path, first: int, end: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    words = [sys.executable, "-P", "-m", "benchmarks.faults.batches", kind, str(folder), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "NANOKIMI_LIVE": "0"}
    return subprocess.Popen(
        [*words, str(first), str(end)], stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    )


def judge(use: Callable[[], object], refusals: type[Exception] | tuple[type[Exception], ...]) -> str:
    """What is wrong with how `use()` ends: it works, or refuses in one line, in little time and little memory.

    The time is that of the processor, so that other programs on the machine do not count. One that waits is a hang.
    """
    started, before = time.process_time(), _peak()
    try:
        use()
    except refusals as error:
        line = str(error)
        if "\n" in line or not 0 < len(line) <= LONGEST_LINE or not line.isprintable():
            return f"{type(error).__name__} is no plain line: {one_line(line)}"
    except BaseException as error:
        return f"{type(error).__name__}: {one_line(error)}"
    seconds, grown = time.process_time() - started, _peak() - before
    if seconds > LIMIT_S:
        return f"it took {seconds:.1f} s"
    return f"it took {grown / 1e6:.0f} MB" if grown > MEMORY else ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str, folder: Path, seed: int, first: int, end: int) -> None:
    """Try the numbers from `first` on, and tell a line about each."""
    kind = importlib.import_module(f"benchmarks.faults.{name}")
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    kind.prepare(folder)
    for number in range(first, end):
        print(number, one_line(kind.try_one(folder, random.Random(f"{seed} {number}"))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
