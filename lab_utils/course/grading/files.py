"""The files of a class: found in folders, opened with care, and given to the students on a roster."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanokimi.system.printable import OneLineError, quote

LARGEST = 50_000_000  # bytes of a notebook file
LARGEST_LOGBOOK = 1_000_000
COUNT = 1_000_000  # attempts that a logbook may claim


class NotReadable(OneLineError):
    """A file that is not read. The message is one line that says why."""


@dataclass(frozen=True)
class HandedIn:
    """A notebook's file, and the name under which it is told apart: its path below the folder of the class."""

    path: Path
    key: str


@dataclass(frozen=True)
class Student:
    """A line of the roster. `prefix` begins the paths of the student's files."""

    identity: str
    name: str
    prefix: str


def find_files(places: Sequence[Path]) -> list[HandedIn]:
    """The notebooks in these folders and below, in order, and the files named themselves. No link is followed.

    A link to a notebook is among them, and is refused when it is read. What is named twice is there once.
    """
    places = list({_place_of(place): place for place in reversed(places)}.values())[::-1]
    folders = [place for place in places if place.is_dir() and not place.is_symlink()]
    found: dict[str, HandedIn] = {}
    for place in places:
        if place not in folders:
            found.setdefault(_place_of(place), HandedIn(place, place.name))
            continue
        start = "" if len(folders) == 1 else f"{place.name}/"
        for here, below, names in os.walk(place):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(".ipynb") and not name.startswith("."):
                    path = Path(here, name)
                    key = start + path.relative_to(place).as_posix()
                    found.setdefault(_place_of(path), HandedIn(path, key))
    times = Counter(file.key for file in found.values())
    return [file if times[file.key] == 1 else HandedIn(file.path, str(file.path)) for file in found.values()]


def _place_of(path: Path) -> str:
    """Where a file or a folder is, however it is named. A link is not the file to which it leads."""
    whole = os.path.abspath(path)
    return os.path.normcase(os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole)))


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of a regular file. `NotReadable` for links, folders and pipes, before anything is read of them."""
    try:
        # Without O_NONBLOCK a pipe would keep us waiting for somebody who writes into it.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        raise NotReadable(f"{quote(str(path))}: no such file") from None
    except (OSError, ValueError) as error:
        is_link = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = (
            "a link; name the file itself" if is_link else getattr(error, "strerror", None) or "no file name"
        )
        raise NotReadable(f"{quote(str(path))}: {why}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotReadable(f"{quote(str(path))}: not a file")
    with open(fd, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise NotReadable(f"{quote(str(path))}: larger than {largest // 10**6} MB; clear its outputs")
    return data


# ---------------------------------------------------------------- who handed it in


def read_roster(path: Path) -> list[Student]:
    """The students of a CSV file: `student`, and where the columns are there `name` and `prefix`.

    Raises `NotReadable`.
    """
    try:
        text = read_file(path).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        head = [name.strip().casefold() for name in next(lines, [])]
        if "student" not in head:
            raise NotReadable(
                f"{quote(str(path))}: its first line must name the columns, with commas: student,name,prefix "
                f"(name and prefix may be left out); it is {quote(text.partition(chr(10))[0].strip())}"
            )
        rows = [(lines.line_num, row) for row in lines if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise NotReadable(f"{quote(str(path))}: no CSV file in UTF-8 ({error})") from None
    if not rows:
        raise NotReadable(f"{quote(str(path))}: it names no student below its first line")
    found: dict[str, Student] = {}
    for number, cells in rows:
        if any(map(str.strip, cells[len(head) :])):
            raise NotReadable(
                f"{quote(str(path))}, line {number}: more cells than columns; a name with a comma needs quotation marks"
            )
        row = dict(zip(head, map(str.strip, cells), strict=False))
        identity = row.get("student", "")
        prefix = row.get("prefix") or identity
        if not identity:
            raise NotReadable(f"{quote(str(path))}, line {number}: `student` is empty")
        if _plain(prefix) in found:
            raise NotReadable(
                f"{quote(str(path))}, line {number}: {quote(prefix)} begins the files of two students"
            )
        found[_plain(prefix)] = Student(identity, row.get("name", ""), prefix)
    return list(found.values())


def owner_of(key: str, roster: Sequence[Student]) -> Student | None:
    """The student whose prefix begins the path, up to something that is no letter or digit; the longest one counts."""
    whole = _plain(key)
    fits = [
        student
        for student in roster
        for start in [_plain(student.prefix)]
        if whole.startswith(start) and not whole[len(start) : len(start) + 1].isalnum()
    ]
    return max(fits, key=lambda student: len(_plain(student.prefix)), default=None)


def _plain(text: str) -> str:
    """Capital or not, and however a system composes its letters."""
    return unicodedata.normalize("NFC", text).casefold()


# ---------------------------------------------------------------- the learner's logbook


@dataclass(frozen=True)
class Logged:
    """What a learner's logbook says: attempts by exercise, and the exercises whose answer was shown."""

    attempts: dict[str, int]
    revealed: frozenset[str]


def read_logbook(notebook: Path) -> Logged | None:
    """The file progress.json beside the notebook, or in the folder above. None where there is none that can be read.

    A learner can write there what he likes: it is shown, and decides nothing.
    """
    for folder in (notebook.parent, notebook.parent.parent):
        try:
            found = json.loads(read_file(folder / "progress.json", LARGEST_LOGBOOK))
        except (NotReadable, ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return Logged(_read_attempts(found.get("checks")), _read_names(found.get("revealed")))
    return None


def _read_attempts(checks: Any) -> dict[str, int]:
    entries = checks.items() if isinstance(checks, dict) else ()
    counts = {name: entry.get("attempts") for name, entry in entries if isinstance(entry, dict)}
    return {name: count for name, count in counts.items() if type(count) is int and 0 <= count <= COUNT}


def _read_names(revealed: Any) -> frozenset[str]:
    if isinstance(revealed, dict):
        revealed = [name for name, value in revealed.items() if value]
    return (
        frozenset(each for each in revealed if isinstance(each, str))
        if isinstance(revealed, list)
        else frozenset()
    )
