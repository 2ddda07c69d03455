"""The disk gets full while a training writes to it: one line says so, what was saved stays, and with space it goes on.

The disk is a small one in memory, as root on Linux; in the other tries no file may grow above a size.
"""

import contextlib
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.power_cut import TRAINING, Run, complete, make_corpus, make_model
from nanokimi import checkpoint
from nanokimi.runs.log import LogError
from nanokimi.system.atomic import WRITING
from nanokimi.system.printable import one_line
from nanokimi.train import train

NAME = "full disk while training"
RELEASE, SAMPLE = 100, 6


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Train `tries` times with too little space, then with enough."""
    draw = random.Random(seed)
    whole = complete(folder / "whole", TRAINING)
    size = sum(file.stat().st_size for file in checkpoint.find_newest(folder / "whole").iterdir())
    largest = max(file.stat().st_size for file in checkpoint.find_newest(folder / "whole").iterdir())
    in_memory = _can_mount(folder)
    lost = []
    for number in range(tries):
        here = folder / f"try-{number}"
        here.mkdir()
        if in_memory and number % 2:
            space = int(draw.uniform(0.2, 3.2) * size)
            with _small_disk(here, space) as grow:
                fault = _fill(here / "run", draw, grow, whole)
        else:
            space = int(draw.uniform(0.1, 1.1) * largest)
            with _small_files(space) as grow:
                fault = _fill(here / "run", draw, grow, whole)
        if fault:
            lost.append(f"{space:,} bytes, try {number} of seed {seed}: {fault}")
        shutil.rmtree(here, ignore_errors=True)
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def _fill(run_dir: Path, draw: random.Random, grow: Callable[[], None], whole: Run) -> str:
    """What was lost when the space ended; empty for nothing."""
    done, stop_after = 0, draw.randint(1, TRAINING.steps + 1)
    running = train(make_model(TRAINING), make_corpus(), TRAINING, run_dir)
    try:
        with contextlib.closing(running):
            for record in running:
                done = record.step
                if done == stop_after:
                    break
        is_saved = done
    except (checkpoint.CheckpointError, LogError) as error:
        line = str(error)
        if line != one_line(line) or "cannot be written: " not in line or run_dir.name not in line:
            return f"the line is {line}"
        is_saved = done - done % TRAINING.eval_every
    except OSError as error:
        # Before the first step is done, there is no log that could say more.
        if done:
            return f"after step {done}: {type(error).__name__}: {error}"
        is_saved = 0
    left = [path.name for path in run_dir.glob(f"{WRITING}*")]
    if left:
        return f"left {left} behind"
    if is_saved and checkpoint.load_checkpoint(run_dir).state.step < is_saved:
        return f"step {checkpoint.load_checkpoint(run_dir).state.step} is there, {is_saved} was saved"
    grow()
    again = complete(run_dir, TRAINING, resume=checkpoint.has_checkpoint(run_dir))
    return "" if again.log == whole.log else "the log is another after resuming"


@contextlib.contextmanager
def _small_files(largest: int) -> Iterator[Callable[[], None]]:
    """A block in which no file of this process may be larger; what it gives lifts the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield lift
    finally:
        lift()


@contextlib.contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A block in which `folder` is a disk of so many bytes; what it gives makes it large."""

    def grow() -> None:
        _call("mount", "-o", "remount,size=64m", str(folder))

    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield grow
    finally:
        _call("umount", str(folder))


def _can_mount(folder: Path) -> bool:
    if sys.platform != "linux" or os.geteuid():
        return False
    probe = folder / "probe"
    probe.mkdir()
    with contextlib.suppress(OSError, subprocess.CalledProcessError), _small_disk(probe, 1 << 20):
        return True
    return False


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
