"""The table of a class as CSV: a row for each student and notebook, and for whoever handed in nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab_utils.course.grading.files import HandedIn, Logged, Student, owner_of, read_logbook
from lab_utils.course.grading.names import stubs
from lab_utils.course.grading.one import NOT_GRADED, PASSED, Graded
from nanokimi.system import atomic
from nanokimi.system.printable import one_line

HEAD = (
    "student", "name", "path", "notebook", "points", "max_points", "passed", "exercises", "attempts", "revealed",
    "lab", "made_with", "why_not_graded",
)  # fmt: skip
NOBODY = "(not on the roster)"
ACTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one of them


@dataclass(frozen=True)
class Entry:
    """A notebook that was handed in, and its grades."""

    file: HandedIn
    graded: Graded
    lab: str


def write_table(
    path: Path, entries: Sequence[Entry], points: Mapping[str, float], roster: Sequence[Student] | None
) -> None:
    """Write the table as a whole. Text from outside is data: no cell begins a formula. Raises `OSError`."""
    rows = make_rows(entries, points, roster)
    names = [name for name in stubs() if any(name in row for row in rows)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*HEAD, *names], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    atomic.write_text(path, text.getvalue())


def make_rows(
    entries: Sequence[Entry], points: Mapping[str, float], roster: Sequence[Student] | None
) -> list[dict[str, object]]:
    """The rows, in the order of the roster, then of the files; at the end those of nobody on the roster."""
    owned: dict[str, list[dict[str, object]]] = {student.identity: [] for student in roster or ()}
    others = []
    for entry in entries:
        student = owner_of(entry.file.key, roster) if roster else None
        row = _make_row(entry, points)
        if student:
            owned[student.identity].append({"student": student.identity, "name": student.name} | row)
        elif roster is not None:
            others.append({"student": NOBODY} | row)
        else:
            folder, slash, _ = entry.file.key.partition("/")
            others.append({"student": folder if slash else ""} | row)
    for student in roster or ():
        if not owned[student.identity]:
            nothing = {"student": student.identity, "name": student.name, "points": 0, "passed": 0}
            owned[student.identity].append(nothing | {"why_not_graded": "nothing was handed in"})
    return [*(row for rows in owned.values() for row in rows), *others]


def _make_row(entry: Entry, points: Mapping[str, float]) -> dict[str, object]:
    grades = entry.graded.grades
    row: dict[str, object] = {
        "path": entry.file.key,
        "notebook": " ".join(entry.graded.numbers),
        "lab": entry.lab,
    }
    if grades[0].status == NOT_GRADED:
        return row | {"points": 0, "passed": 0, "why_not_graded": grades[0].says}
    passed = [grade.exercise for grade in grades if grade.status == PASSED]
    row |= {
        "points": _number(sum(points[name] for name in passed)),
        "max_points": _number(sum(points[grade.exercise] for grade in grades)),
        "passed": len(passed),
        "exercises": len(grades),
        "made_with": entry.graded.made_with,
    }
    if logged := read_logbook(entry.file.path):
        row |= _read_log(logged, [grade.exercise for grade in grades])
    return row | {grade.exercise: grade.status for grade in grades}


def _read_log(logged: Logged, names: Sequence[str]) -> dict[str, object]:
    return {
        "attempts": sum(logged.attempts.get(name, 0) for name in names),
        "revealed": " ".join(name for name in names if name in logged.revealed),
    }


def _number(value: float) -> str:
    return f"{value:.10g}"


def _cell(value: object) -> str:
    """A cell's text: one line, and never a formula. The numbers are ours, none of them negative."""
    text = one_line(value)
    return f"'{text}" if text.startswith(ACTS) else text
