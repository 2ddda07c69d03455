"""What has been graded so far: a JSON file, written whole after each notebook, from which a later run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import nanokimi
from lab_utils.course.grading.one import Grade, Graded
from lab_utils.course.grading.table import Entry
from nanokimi.system import atomic
from nanokimi.system.printable import one_line

ROOT = Path(__file__).resolve().parents[3]


@cache
def lab_version() -> str:
    """The version of the lab, and a hash of all code that decides: "0.3.0+1a2b3c4d"."""
    found = hashlib.sha256()
    for package in ("nanokimi", "lab_utils"):
        for path in sorted(ROOT.joinpath(package).rglob("*.py")):
            found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{nanokimi.__version__}+{found.hexdigest()[:8]}"


def write_record(path: Path, entries: Sequence[tuple[Entry, str]]) -> None:
    """Write the grades, a row for each exercise; with each entry comes the digest of what was graded."""
    rows = [
        asdict(grade)
        | {
            "notebook": one_line(entry.file.key),
            "path": entry.file.key,
            "numbers": entry.graded.numbers,
            "made_with": entry.graded.made_with,
            "lab": entry.lab,
            "digest": digest,
        }
        for entry, digest in entries
        for grade in entry.graded.grades
    ]
    atomic.write_json(path, rows)


def read_record(path: Path) -> dict[tuple[str, str], Graded]:
    """What an earlier run has written, by path and digest. What cannot be read is graded anew."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in rows:
            found.setdefault((row["path"], row["digest"]), []).append(row)
        return {key: _read_graded(same) for key, same in found.items()}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _read_graded(rows: list[dict[str, Any]]) -> Graded:
    texts = ("notebook", "exercise", "status", "says", "mistake")
    grades = tuple(Grade(*(str(row[name]) for name in texts), tuple(map(str, row["report"]))) for row in rows)
    return Graded(grades, tuple(map(str, rows[0]["numbers"])), str(rows[0]["made_with"]))
