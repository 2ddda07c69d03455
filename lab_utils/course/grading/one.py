"""The grades of one notebook: its cells run in one contained process, what they gave is judged in another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from lab_utils.course.grading.files import NotReadable, read_file
from lab_utils.machine.contain import Bounds, Contained, Ended, make_environ
from lab_utils.machine.preloaded import Preloaded
from nanokimi.system.printable import one_line, quote

SECONDS, MEMORY_GB = 300.0, 8.0
LEAST_MEMORY_GB = 1.0  # Python, torch and the course take half of it
JUDGING = Bounds(seconds=180, memory=4 * 10**9)
PASSED, FAILED, NOT_TRIED, MISSING, NOT_GRADED = "passed", "failed", "not tried", "missing", "not graded"
# Small sizes, no widgets, no network; one thread, for the processes that try the answers are forks.
ENVIRON = {"NANOKIMI_PROFILE": "smoke", "NANOKIMI_LIVE": "0", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


# What notebooks and the judge import, and what takes longest of it.
LOADED = (
    "torch._inductor", "lab_utils.course.grading.verdicts", "lab_utils.course.grading.trial", "lab_utils.course.check",
    "lab_utils.course.hints", "lab_utils.course.predict", "lab_utils.course.progress",
    "IPython.core.interactiveshell", "IPython.core.completer", "matplotlib.pyplot", "nanokimi.train",
)  # fmt: skip


class NotGradable(ValueError):
    """A file is no notebook of the course. The message is one line that says why."""


@dataclass(frozen=True)
class Grade:
    """The judgement on one exercise. `says` is why it did not pass: the diagnosis where the mistake is a known one.

    A file that could not be graded has one of these, with the status "not graded" and no exercise. `report` is what
    the panel of a check says, line by line.
    """

    notebook: str
    exercise: str
    status: str
    says: str = ""
    mistake: str = ""
    report: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graded:
    """A notebook's grades, its numbers in the course, and the version of the lab that its file names."""

    grades: tuple[Grade, ...]
    numbers: tuple[str, ...] = ()
    made_with: str = ""


@dataclass
class Running:
    """The processes of the notebooks that are being graded, so that a signal can end them."""

    tasks: set[Contained] = field(default_factory=set)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *tasks: Contained) -> None:
        with self._lock:
            self.tasks.update(tasks)
            stopped = self.stopped
        if stopped:
            self.stop()

    def remove(self, *tasks: Contained) -> None:
        with self._lock:
            self.tasks.difference_update(tasks)

    def stop(self) -> None:
        """End them all; whoever waits for one of them goes on."""
        with self._lock:
            self.stopped = True
            tasks = list(self.tasks)
        for task in tasks:
            task.end()


def grade(path: Path, seconds: float = SECONDS, memory_gb: float = MEMORY_GB) -> list[Grade]:
    """The grades of one learner's notebook, after a run of it, in the order of the course.

    The run and everything that it starts get `seconds` and `memory_gb` * 10^9 bytes together; then they are ended.
    Raises `NotGradable` for a file that is no notebook of the course.
    """
    return list(grade_file(path, read_for_grading(path), seconds, memory_gb).grades)


def read_for_grading(path: Path) -> bytes:
    """The bytes of a notebook's file. Raises `NotGradable`."""
    try:
        return read_file(path)
    except NotReadable as error:
        raise NotGradable(str(error)) from None


def grade_file(
    path: Path,
    data: bytes,
    seconds: float,
    memory_gb: float,
    running: Running | None = None,
    preloaded: Preloaded | None = None,
) -> Graded:
    """The grades of a notebook with these bytes. `running` knows the processes as long as they run.

    With `preloaded` they begin without loading torch and the course. Raises `NotGradable`.
    """
    bounds = Bounds(seconds=seconds, memory=int(memory_gb * 1e9))
    seed = b"%d\n" % random.SystemRandom().getrandbits(48)
    running = running or Running()
    # The judge gets ready while the notebook runs.
    with (
        Contained("lab_utils.course.grading.verdicts:main", JUDGING, preloaded=preloaded) as judge,
        Contained("lab_utils.course.grading.answers:main", bounds, ENVIRON, preloaded=preloaded) as notebook,
    ):
        running.add(judge, notebook)
        try:
            run = notebook.finish(seed + data)
            if running.stopped:
                raise NotGradable(f"{quote(str(path))}: stopped")
            first, _, rest = run.output.partition(b"\n")
            about = _read_about(first, path, run.why, bounds)
            judged = judge.finish(seed + rest)
        finally:
            running.remove(judge, notebook)
    found = {line.pop("exercise"): line for line in _read_verdicts(judged.output)}
    missing = f"It could not be judged: {judged.why}." if judged.why else _say_why_missing(run, bounds)
    grades = [
        Grade(
            one_line(path.name),
            name,
            **found.get(name, {"status": FAILED, "says": missing, "report": (missing,)}),
        )
        for name in about["expected"]
    ]
    return Graded(tuple(grades), tuple(about["numbers"]), one_line(about["made with"]))


def preload() -> contextlib.AbstractContextManager[Preloaded | None]:
    """A process that has loaded the course, from which those of many notebooks are forked; None but on Linux."""
    if sys.platform != "linux":
        return contextlib.nullcontext()
    return Preloaded(LOADED, make_environ("/", "/tmp") | ENVIRON)


def digest_of(data: bytes, *more: object) -> str:
    """What tells a graded notebook from one that has changed: a hash of its bytes and of what else decides."""
    found = hashlib.sha256(data)
    found.update(json.dumps(more).encode())
    return found.hexdigest()


def _read_about(first: bytes, path: Path, why: str, bounds: Bounds) -> dict:
    """The exercises that the notebook should answer, from the line that is written before the notebook runs."""
    line = json.loads(first) if first else {}
    if "expected" not in line:
        reasons = {
            "time": f"it was not read within {bounds.seconds:g} s (--seconds)",
            "memory": f"reading it takes more than {bounds.memory / 1e9:g} GB of memory (--memory)",
        }
        said = line.get("not gradable") or reasons.get(why, f"it could not be read ({why})")
        raise NotGradable(f"{quote(str(path))}: {said}")
    if not line["expected"]:
        raise NotGradable(f"{quote(str(path))}: it holds no exercise of the course")
    return line


def _read_verdicts(output: bytes) -> list[dict]:
    """The lines of the judge. The last one tells why, where it could not do its work."""
    lines = [json.loads(text) for text in output.splitlines() if text]
    # A learner's error, or a value of his, is told in one of them.
    return [
        line
        | {"says": one_line(line["says"]), "report": tuple(one_line(each, 2000) for each in line["report"])}
        for line in lines
        if "exercise" in line
    ]


def _say_why_missing(run: Ended, bounds: Bounds) -> str:
    reasons = {
        "": "the notebook ended its process earlier",
        "time": f"the notebook did not get there within {bounds.seconds:g} s",
        "memory": f"the notebook took more than {bounds.memory / 1e9:g} GB of memory",
        "processes": f"the notebook started more than {bounds.processes} processes",
        "output": "the notebook wrote too much",
        "files": f"the notebook wrote more than {bounds.files / 1e9:g} GB of files",
        "memory of the machine": "the notebook filled the machine's memory",
        "it died": "the notebook's process died earlier",
    }
    return f"Not reached: {reasons.get(run.why, run.why)}."
