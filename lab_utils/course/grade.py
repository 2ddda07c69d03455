"""Judge learners' notebooks: python -m lab_utils.course.grade notebooks/04_*.ipynb [--json grades.json]

Each notebook runs in a process of its own, with bounds on time, memory, processes and files. After every exercise cell
the function that it defines is run on the exercise's cases; the learner's own check cells do not count. What it gave is
judged in another process. A file that cannot be graded costs its own row. Exit code 0: every exercise of every
notebook passed; 1: not all; 2: a file could not be graded, or nothing could be started.

docs/authoring.md says what a notebook can still do, on which system.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import math
import os
import signal
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from lab_utils.machine.contain import Bounds, Contained, Ended, NotContained, find_level
from lab_utils.machine.sandbox import FULL, LIMITS, OTHER_USER
from nanokimi.system import atomic
from nanokimi.system.printable import one_line, quote, show_every_letter

SECONDS, MEMORY_GB = 300.0, 8.0
JUDGING = Bounds(seconds=180, memory=4 * 10**9)
LARGEST = 50_000_000  # bytes of a notebook file
PASSED, FAILED, NOT_TRIED, NOT_GRADED = "passed", "failed", "not tried", "not graded"
WEAKER = {
    OTHER_USER: "on this system notebooks see what every user can see, and reach the network",
    LIMITS: "on this system a notebook can change your files, reach the network and end this program",
}
# Small sizes, no widgets, no network.
ENVIRON = {"NANOKIMI_PROFILE": "smoke", "NANOKIMI_LIVE": "0", "HF_HUB_OFFLINE": "1"}


class NotGradable(ValueError):
    """A file is no notebook of the course. The message is one line that says why."""


@dataclass(frozen=True)
class Grade:
    """The judgement on one exercise. `says` is why it did not pass: the diagnosis where the mistake is a known one.

    A file that could not be graded has one of these, with the status "not graded" and no exercise.
    """

    notebook: str
    exercise: str
    status: str
    says: str = ""
    mistake: str = ""


def grade(path: Path, seconds: float = SECONDS, memory_gb: float = MEMORY_GB) -> list[Grade]:
    """The grades of one learner's notebook, after a run of it, in the order of the course.

    The run and everything that it starts get `seconds` and `memory_gb` * 10^9 bytes together; then they are ended.
    Raises `NotGradable` for a file that is no notebook of the course.
    """
    data = _read(path)
    bounds = Bounds(seconds=seconds, memory=int(memory_gb * 1e9))
    # The judge gets ready while the notebook runs.
    with (
        Contained("lab_utils.course.verdicts:main", JUDGING) as judge,
        Contained("lab_utils.course.answers:main", bounds, ENVIRON) as notebook,
    ):
        run = notebook.finish(data)
        first, _, rest = run.output.partition(b"\n")
        expected = _read_expected(first, path, run.why)
        judged = judge.finish(rest)
    found = {line.pop("exercise"): line for line in _read_verdicts(judged.output)}
    if judged.why:
        missing = f"It could not be judged: {judged.why}."
    else:
        missing = _say_why_missing(run, bounds)
    return [
        Grade(one_line(path.name), name, **found.get(name, {"status": FAILED, "says": missing}))
        for name in expected
    ]


def _read(path: Path) -> bytes:
    """The bytes of a regular file; links, folders and pipes are refused before anything is read."""
    try:
        # Without O_NONBLOCK a pipe would keep us waiting for somebody who writes into it.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        raise NotGradable(f"{quote(str(path))}: no such file") from None
    except (OSError, ValueError) as error:
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = (
            "a link; name the file itself" if is_link else getattr(error, "strerror", None) or "no file name"
        )
        raise NotGradable(f"{quote(str(path))}: {why}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotGradable(f"{quote(str(path))}: not a file")
    with open(fd, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise NotGradable(f"{quote(str(path))}: larger than {LARGEST // 10**6} MB; clear its outputs")
    return data


def _read_expected(first: bytes, path: Path, why: str) -> list[str]:
    """The exercises that the notebook should answer, from the line that is written before the notebook runs."""
    line = json.loads(first) if first else {}
    if "expected" not in line:
        raise NotGradable(
            f"{quote(str(path))}: {line.get('not gradable') or f'it could not be read ({why})'}"
        )
    if not line["expected"]:
        raise NotGradable(f"{quote(str(path))}: it holds no exercise of the course")
    return line["expected"]


def _read_verdicts(output: bytes) -> list[dict[str, str]]:
    """The lines of the judge. The last one tells why, where it could not do its work."""
    lines = [json.loads(text) for text in output.splitlines() if text]
    # A learner's error, or a value of his, is told in one of them.
    return [line | {"says": one_line(line["says"])} for line in lines if "exercise" in line]


def _say_why_missing(run: Ended, bounds: Bounds) -> str:
    if not run.why and run.output.endswith(b'{"end": true}\n'):
        return "The exercise's cell is missing."
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


def as_text(grades: Sequence[Grade]) -> str:
    """The rows of one notebook: its name, and one line per exercise."""
    width = max(len(g.exercise) for g in grades)
    lines = [f"  {g.exercise:{width}s}  {g.status:9s}  {g.says}".rstrip() for g in grades]
    return "\n".join([grades[0].notebook, *lines])


def count(grades: Sequence[Grade]) -> str:
    """How many passed, of the exercises of all notebooks that could be graded."""
    n = sum(g.status != NOT_GRADED for g in grades)
    return f"{sum(g.status == PASSED for g in grades)} of {n} exercises passed"


def main(argv: Sequence[str] | None = None) -> int:
    show_every_letter()
    parser = argparse.ArgumentParser(prog="python -m lab_utils.course.grade")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="a file for the grades, written anew after each notebook")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="time for one notebook")
    parser.add_argument(
        "--memory", type=_positive, default=MEMORY_GB, help="GB of memory for one notebook (Linux)"
    )
    options = parser.parse_args(argv)
    with _leave_on_signals():
        try:
            if options.json:
                _check_writable(options.json)
            level = find_level()
        except (OSError, NotContained) as error:
            return _complain(error)
        if level != FULL:
            print(f"grade: {WEAKER[level]} (docs/authoring.md)", file=sys.stderr)
        return _grade_all(options)


def _grade_all(options: argparse.Namespace) -> int:
    """Grade one notebook after the other; each one's rows are shown and kept before the next one starts."""
    grades: list[Grade] = []
    names = Counter(path.name for path in options.notebooks)
    for path in options.notebooks:
        # Learners' folders may hold files of the same name.
        shown = one_line(path.name if names[path.name] == 1 else path)
        try:
            rows = grade(path, options.seconds, options.memory)
        except NotGradable as error:
            rows = [Grade(shown, "", NOT_GRADED, one_line(error))]
            _complain(error)
        else:
            rows = [replace(g, notebook=shown) for g in rows]
            print(as_text(rows), flush=True)
        grades += rows
        if options.json:
            try:
                atomic.write_json(options.json, [asdict(g) for g in grades])
            except OSError as error:
                return _complain(error)
    print(count(grades))
    if any(g.status == NOT_GRADED for g in grades):
        return 2
    return 0 if all(g.status == PASSED for g in grades) else 1


def _check_writable(path: Path) -> None:
    """Make the folder of a file that will be written, and try it. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "--json names a folder", str(path))
    tempfile.TemporaryFile(dir=path.parent).close()


def _complain(error: Exception) -> int:
    print(f"grade: {one_line(error)}", file=sys.stderr)
    return 2


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


@contextlib.contextmanager
def _leave_on_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the notebook that runs, and then the program, quietly; the rows so far stay."""

    def leave(number: int, frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
