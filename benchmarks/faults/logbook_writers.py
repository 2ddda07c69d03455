"""Six processes write the learner's logbook at once, and three of them are killed meanwhile and start again.

A try is one entry; each of them must be in the file at the end. A killed process writes the entry again at which it
was killed, and none before that.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from lab_utils.course.logbook import Logbook

NAME = "entries of six processes in one logbook, three of them killed"
RELEASE = 600
SAMPLE = 30
PROCESSES = 6

WRITER = """
import sys
from lab_utils.course.logbook import Logbook
for entry in sys.argv[1:]:
    Logbook.open().note_check(entry, "passed")
    print(entry, flush=True)
"""


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Let the writers share `tries` entries, with kills at random moments."""
    path, rng = folder / "progress.json", random.Random(seed)
    shares = [[f"{n}-{i}" for i in range(n, tries, PROCESSES)] for n in range(PROCESSES)]
    writers = [_write(share, path) for share in shares]
    time.sleep(1)  # Python starts
    for n in range(0, PROCESSES, 2):
        time.sleep(rng.uniform(0, 0.5))
        writers[n].kill()
        reported = writers[n].communicate()[0].split()
        writers[n] = _write(shares[n][len(reported) :], path)
    done = 0
    for writer, share in zip(writers, shares, strict=True):
        writer.communicate()
        done += len(share)
        on_progress(done)
    kept = Logbook.open(path)
    lost = [f"entry {entry}, seed {seed}" for share in shares for entry in share if not kept.solved(entry)]
    return Outcome(tries, tries - len(lost), lost)


def _write(entries: list[str], path: Path) -> subprocess.Popen[str]:
    """A process that makes these entries and reports each on stdout when it is written."""
    words = [sys.executable, "-P", "-c", WRITER, *entries]
    environ = os.environ | {"NANOKIMI_PROGRESS": str(path)}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ)
