"""A notebook that means harm is graded: the grader bounds it, cleans up, and judges the right answer beside it.

Each try is one notebook and one start of the grader. It survived if the grader ended by itself with a row for every
exercise, none of the processes lives on, no file outside has changed or appeared, and the memory, the time and the
output stayed within their bounds. Where a right answer still has to pass, it passed.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.hostile_files import CASES, PASSES, Harm
from benchmarks.faults.outcome import Outcome
from lab_utils.machine import linux

NAME = "hostile notebooks"
RELEASE = len(CASES)
SAMPLE = 1

SECONDS, MEMORY_GB = 10, 2
AMPLE_S = 90  # for a notebook that comes to its end, at worst on a busy machine
LONGEST_S = 250  # for all of it
OVERSHOOT = 1.2e9  # bytes: what can be filled between two looks at the memory
GRADER = 350e6  # bytes of the grader's own process
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass
class Seen:
    """What was seen of a grader while it ran."""

    processes: dict[int, linux.Process]
    memory: int = 0
    own_memory: int = 0


def run(tries: int, seed: int, folder: Path, on_progress: Callable[[int], None]) -> Outcome:
    """Each case in turn; a few tries take cases by chance."""
    cases = list(CASES)
    random.Random(seed).shuffle(cases)
    lost = []
    for number in range(tries):
        case = cases[number % len(cases)]
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        if says := grade_one(case, place):
            lost.append(f"{case.name}: {says} (seed {seed}, try {number})")
        on_progress(number + 1)
    return Outcome(tries, tries - len(lost), lost)


def grade_one(case: Harm, folder: Path) -> str:
    """Grade one hostile notebook in `folder`. What was lost: a line, empty if nothing was."""
    token = f"harm{uuid.uuid4().hex[:12]}"
    canary, grades = folder / "canary.txt", folder / "deep" / "grades.json"
    canary.write_text("untouched", encoding="utf-8")
    canary.chmod(0o666)
    path = case.write(folder, token)
    before = _list_places(folder)
    started = time.monotonic()
    words = [sys.executable, "-m", "lab_utils.course.grade", str(path), "--json", str(grades)]
    words += ["--seconds", str(AMPLE_S if case.expects == PASSES else SECONDS), "--memory", str(MEMORY_GB)]
    with open(folder / "shown.txt", "wb") as shown:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=shown, stderr=shown, start_new_session=True
        )
        seen = _watch(process, started + LONGEST_S)
    took = time.monotonic() - started
    grades.with_name("seen.txt").write_text(
        f"{took:.1f} s {seen.memory / 1e6:.0f} MB {seen.own_memory / 1e6:.0f} MB"
    )
    if process.returncode is None:
        process.kill()
        process.wait()
        return f"the grader had not ended after {LONGEST_S} s"
    if process.returncode not in (0, 1, 2):
        return f"the grader ended with {process.returncode}"
    now = linux.read_processes()
    if alive := [
        p
        for p, was in seen.processes.items()
        if p in now and now[p].begun == was.begun and now[p].state != "Z"
    ]:
        return f"{len(alive)} processes live on"
    if canary.read_text(encoding="utf-8") != "untouched":
        return "a file outside was changed"
    if new := [p for p in _list_places(folder) - before if token in p or p.startswith("/dev/shm")]:
        return f"files were left: {new[0]}"
    if seen.memory > MEMORY_GB * 1e9 + OVERSHOOT:
        return f"the notebook took {seen.memory / 1e9:.1f} GB"
    if seen.own_memory > GRADER:
        return f"the grader took {seen.own_memory / 1e6:.0f} MB"
    text = (folder / "shown.txt").read_bytes().decode("utf-8", "surrogateescape")
    if ACTING.search(text) or len(text) > 20_000 or "Traceback" in text:
        return f"what was shown is not what should be: {text[:200]!r}"
    return _judge_rows(case, json.loads(grades.read_text(encoding="utf-8")))


def _judge_rows(case: Harm, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "there are no rows"
    status = next((row["status"] for row in rows if row["exercise"] in ("causal_mask", "")), "")
    if case.expects and status not in case.expects:
        return f"the answer counts as {status!r}, not as {' or '.join(case.expects)}: {rows[0]['says']}"
    wrong = [row["exercise"] for row in rows if row["exercise"] == "attend" and row["status"] == "passed"]
    return "a wrong answer counts as passed" if wrong else ""


def _watch(process: subprocess.Popen, deadline: float) -> Seen:
    """Look at the grader and all that comes from it until it ends."""
    seen = Seen({})
    while process.poll() is None and time.monotonic() < deadline:
        tree = linux.find_tree(process.pid)
        seen.processes |= {pid: about for pid, about in tree.items() if pid != process.pid}
        own = linux.sum_memory([process.pid], exactly=False)
        seen.own_memory = max(seen.own_memory, own)
        seen.memory = max(seen.memory, linux.sum_memory(tree, exactly=True) - own)
        time.sleep(0.05)
    return seen


def _list_places(folder: Path) -> set[str]:
    """The paths where harm could be left: the shared folders, those around the notebook, and this project."""
    places = [
        Path("/tmp"),
        Path("/var/tmp"),
        Path("/dev/shm"),
        Path.home(),
        folder,
        Path(__file__).parents[2],
    ]
    return {str(path) for place in places if place.is_dir() for path in place.iterdir()}
