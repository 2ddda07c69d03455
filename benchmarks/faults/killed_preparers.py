"""A preparation is killed at a random moment: the next one makes the same tokens, and removes what was left behind."""

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from nanokimi.config import DataConfig
from nanokimi.system.atomic import DAY_S, WRITING

NAME = "kill while preparing a text"
RELEASE, SAMPLE = 100, 2


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Kill `tries` preparations, prepare again, and compare all files with those of one that nobody disturbed."""
    draw = random.Random(seed)
    # More than `bpe.SMALL` characters, so that a process of its own learns the tokens.
    (folder / "text.txt").write_text(
        "".join(f"The hen saw fox {i} at {draw.random()}.\n" for i in range(12_000))
    )
    processes = multiprocessing.get_context("forkserver")  # new ones without the seconds of importing torch
    processes.set_forkserver_preload(["nanokimi.text.corpus"])
    lost = []

    def start(cache: Path) -> multiprocessing.Process:
        process = processes.Process(target=prepare, args=(folder / "text.txt", cache))
        process.start()
        return process

    def finish(cache: Path) -> float:
        started = time.monotonic()
        process = start(cache)
        process.join()
        if process.exitcode:
            raise RuntimeError(f"it ended with {process.exitcode}")
        return time.monotonic() - started

    finish(folder / "whole")  # the first one waits for the imports
    shutil.rmtree(folder / "whole")
    longest = finish(folder / "whole")
    expected = _contents(folder / "whole")
    for number in range(tries):
        cache, wait_s = folder / "cache", draw.uniform(0, longest)
        killed = start(cache)
        killed.join(wait_s)
        killed.kill()
        killed.join()
        for left in cache.glob(f"*/{WRITING}*"):
            os.utime(left, (time.time() - 2 * DAY_S,) * 2)
        complete = cache.exists() and _contents(cache) == expected
        try:
            finish(cache)
            found = _contents(cache)
            fault = (
                ""
                if found == expected
                else f"files differ: {sorted(set(found.items()) ^ set(expected.items()))}"
            )
        except RuntimeError as error:
            fault = str(error)
        if fault:
            lost.append(
                f"killed after {wait_s:.2f} s, seed {seed}, try {number}, complete {complete}: {fault[:300]}"
            )
        shutil.rmtree(cache, ignore_errors=True)
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def prepare(text: Path, cache: Path) -> None:
    """What a killed process was doing."""
    from nanokimi.text.corpus import load_corpus

    load_corpus(DataConfig(source=str(text), vocab_size=400, cache_dir=str(cache)))


def _contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
