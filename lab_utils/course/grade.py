"""Grade a class: python -m lab_utils.course.grade class/ --csv grades.csv --json grades.json [--jobs 2]

Takes folders and notebooks. Each notebook runs in a process of its own, with bounds on time, memory, processes and
files. Each answer is found by its name and run on the exercise's cases; the learner's own check cells do not count.
What it gave is judged in another process. A file that cannot be graded costs its own row. With --json a later run
grades only what is new or has changed. Exit code 0: every exercise of every notebook passed; 1: not all; 2: a file
could not be graded, or nothing could be started.

docs/grading.md says more, and what a notebook can still do, on which system.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from lab_utils.course.grading.files import HandedIn, NotReadable, Student, find_files, read_roster
from lab_utils.course.grading.one import (
    LEAST_MEMORY_GB,
    MEMORY_GB,
    NOT_GRADED,
    PASSED,
    SECONDS,
    Grade,
    Graded,
    NotGradable,
    Running,
    digest_of,
    grade_file,
    preload,
    read_for_grading,
)
from lab_utils.course.grading.outputs import PAGES, RECORD, TABLE, prepare_outputs
from lab_utils.course.grading.points import read_points
from lab_utils.course.grading.record import lab_version, read_record, write_record
from lab_utils.course.grading.reports import write_report
from lab_utils.course.grading.table import Entry, write_table
from lab_utils.machine.contain import NotContained, find_level
from lab_utils.machine.preloaded import Preloaded
from lab_utils.machine.sandbox import FULL, LIMITS, OTHER_USER
from nanokimi.system.printable import one_line, quote, show_every_letter

WEAKER = {
    OTHER_USER: "on this system notebooks see what every user can see, and reach the network",
    LIMITS: "on this system a notebook can change your files, reach the network and end this program",
}


def main(argv: Sequence[str] | None = None) -> int:
    show_every_letter()
    parser = _Parser(prog="python -m lab_utils.course.grade")
    parser.add_argument("notebooks", nargs="+", type=Path, help="folders and notebooks")
    parser.add_argument("--csv", type=Path, help="a table with a row for each student and notebook")
    parser.add_argument(
        "--json", type=Path, help="the grades of each exercise; a later run goes on from them"
    )
    parser.add_argument("--reports", type=Path, help="a folder for a page for each student and notebook")
    parser.add_argument("--points", type=Path, help="YAML: points by exercise, 1 where it says nothing")
    parser.add_argument("--roster", type=Path, help="CSV with the columns student, name, prefix")
    parser.add_argument("--jobs", type=_jobs, default=1, help="how many notebooks are graded at a time")
    seconds = _number(0, "a number of seconds above 0")
    memory = _number(LEAST_MEMORY_GB, f"a number of GB, {LEAST_MEMORY_GB:g} or more")
    parser.add_argument("--seconds", type=seconds, default=SECONDS, help="time for one notebook")
    parser.add_argument(
        "--memory", type=memory, default=MEMORY_GB, help="GB of memory for one notebook (Linux)"
    )
    options = parser.parse_args(argv)
    with _leave_on_signals():
        try:
            points = read_points(options.points)
            roster = read_roster(options.roster) if options.roster else None
            files = find_files(options.notebooks)
            if not files:
                raise NotReadable(f"{quote(str(options.notebooks[0]))}: no notebook is in it")
            inputs = {file.path: f"the notebook {file.key}" for file in files}
            inputs |= {options.roster: "the roster"} if options.roster else {}
            inputs |= {options.points: "the file of the points"} if options.points else {}
            outputs = {TABLE: options.csv, RECORD: options.json, PAGES: options.reports}
            prepare_outputs({option: path for option, path in outputs.items() if path}, inputs)
            level = find_level()
        except SystemExit:
            print("grade: stopped before anything was graded", file=sys.stderr)
            raise
        except (OSError, NotReadable, NotContained) as error:
            return _complain(error)
        if level != FULL:
            print(f"grade: {WEAKER[level]} (docs/grading.md)", file=sys.stderr)
        return Class(files, options, points, roster).grade()


@dataclass
class Class:
    """The notebooks of a class while they are graded. All tables are written anew after each of them."""

    files: Sequence[HandedIn]
    options: argparse.Namespace
    points: dict[str, float]
    roster: Sequence[Student] | None
    done: dict[int, tuple[Entry, str]] = field(default_factory=dict)  # by the number of the file
    running: Running = field(default_factory=Running)

    def grade(self) -> int:
        """Grade what is new or has changed, and say how it came out. Returns the exit code."""
        earlier = read_record(self.options.json) if self.options.json else {}
        pool = ThreadPoolExecutor(self.options.jobs)
        with preload() as preloaded:
            try:
                grade_one = functools.partial(self._grade_one, earlier, preloaded)
                waiting = {pool.submit(grade_one, file): number for number, file in enumerate(self.files)}
                for future in as_completed(waiting):
                    number = waiting[future]
                    self.done[number] = entry, _ = future.result()
                    self._show(entry)
                    self._write(entry)
            except OSError as error:
                return _complain(error)
            except SystemExit:
                print(f"grade: {self._say_stopped()}", file=sys.stderr)
                raise
            finally:
                self.running.stop()
                pool.shutdown(cancel_futures=True)
        grades = [grade for entry, _ in self.done.values() for grade in entry.graded.grades]
        print(count(grades))
        if any(grade.status == NOT_GRADED for grade in grades):
            return 2
        return 0 if all(grade.status == PASSED for grade in grades) else 1

    def _grade_one(
        self, earlier: dict[tuple[str, str], Graded], preloaded: Preloaded | None, file: HandedIn
    ) -> tuple[Entry, str]:
        """The file's entry, and the digest of what decides about it."""
        digest = ""
        try:
            data = read_for_grading(file.path)
            digest = digest_of(data, lab_version(), self.options.seconds, self.options.memory)
            graded = earlier.get((file.key, digest))
            if graded is None:
                options = self.options
                graded = grade_file(file.path, data, options.seconds, options.memory, self.running, preloaded)
        except NotGradable as error:
            graded = Graded((Grade("", "", NOT_GRADED, one_line(error)),))
        shown = tuple(replace(grade, notebook=one_line(file.key)) for grade in graded.grades)
        return Entry(file, replace(graded, grades=shown), lab_version()), digest

    def _show(self, entry: Entry) -> None:
        if entry.graded.grades[0].status == NOT_GRADED:
            _complain(entry.graded.grades[0].says)
        else:
            print(as_text(entry.graded.grades), flush=True)

    def _say_stopped(self) -> str:
        said = f"stopped after {len(self.done)} of {len(self.files)} notebooks"
        kept = [quote(str(path)) for path in (self.options.json, self.options.csv) if path]
        if not self.done or not kept:
            return said
        goes_on = "; the same command goes on from there" if self.options.json else ""
        return f"{said}; their grades are in {' and '.join(kept)}{goes_on}"

    def _write(self, new: Entry) -> None:
        if self.options.json:
            write_record(self.options.json, [self.done[number] for number in sorted(self.done)])
        if self.options.csv:
            wait = Graded((Grade("", "", NOT_GRADED, "not graded yet"),))
            entries = [
                self.done[number][0] if number in self.done else Entry(file, wait, "")
                for number, file in enumerate(self.files)
            ]
            write_table(self.options.csv, entries, self.points, self.roster)
        if self.options.reports:
            write_report(self.options.reports, new)


def as_text(grades: Sequence[Grade]) -> str:
    """The rows of one notebook: its name, and one line per exercise."""
    width = max(len(g.exercise) for g in grades)
    lines = [f"  {g.exercise:{width}s}  {g.status:9s}  {g.says}".rstrip() for g in grades]
    return "\n".join([grades[0].notebook, *lines])


def count(grades: Sequence[Grade]) -> str:
    """How many passed, of the exercises of all notebooks that could be graded."""
    n = sum(g.status != NOT_GRADED for g in grades)
    return f"{sum(g.status == PASSED for g in grades)} of {n} exercises passed"


def _complain(error: object) -> int:
    if isinstance(error, OSError) and error.strerror and error.filename:
        error = f"{quote(str(error.filename))}: {error.strerror}"
    print(f"grade: {one_line(error)}", file=sys.stderr)
    return 2


def _number(least: float, what: str) -> Callable[[str], float]:
    """A reader of an option: a number of at least `least`, above 0. `what` says what is allowed."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := float(text)) < math.inf and value > 0:
                return value
        raise argparse.ArgumentTypeError(f"it must be {what}, not {quote(text)}")

    return read


def _jobs(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 1 <= (value := int(text)) <= 64:
            return value
    raise argparse.ArgumentTypeError(f"it must be a whole number from 1 to 64, not {quote(text)}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SystemExit(_complain(message))


@contextlib.contextmanager
def _leave_on_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the notebooks that run, and then the program, quietly; the rows so far stay."""

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
