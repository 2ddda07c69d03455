"""What a run of the grader will write, looked at before anything is written: nothing of anybody's may be lost."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lab_utils.course.grading.files import NotReadable, read_file
from lab_utils.course.grading.table import HEAD
from nanokimi.system.printable import quote

TABLE, RECORD, PAGES = "--csv", "--json", "--reports"
LARGEST = 500_000_000  # bytes of a file of an earlier run
PLACE = {TABLE: "name a file for the table", RECORD: "name a file for the grades", PAGES: "name a folder"}


def prepare_outputs(outputs: Mapping[str, Path], inputs: Mapping[Path, str]) -> None:
    """Make the folders of what will be written, by its option. `inputs` says what each file is that is read.

    Raises `NotReadable` for a place where a file of somebody else's would be lost, or that cannot be written.
    """
    read = {_real(path): what for path, what in inputs.items()}
    taken: dict[str, str] = {}
    for option, path in outputs.items():
        real = _real(path)
        if real in read:
            _refuse(option, path, f"it is {read[real]}")
        for other, theirs in taken.items():
            if real == other:
                _refuse(option, path, f"{theirs} names it too")
            if other.startswith(real + os.sep) and option != PAGES:
                _refuse(option, path, f"{theirs} has it as a folder")
            if real.startswith(other + os.sep) and theirs != PAGES:
                _refuse(option, path, f"{theirs} names a file there")
        taken[real] = option
        if option == PAGES:
            if path.exists() and not path.is_dir():
                _refuse(option, path, "it is a file")
        else:
            _check_file(option, path)
    for option, path in outputs.items():
        _make_folder(option, path if option == PAGES else path.parent)


def _check_file(option: str, path: Path) -> None:
    """Refuse a folder, a notebook's name, and a file that is there and was not written by this option."""
    if path.is_dir():
        _refuse(option, path, "it is a folder")
    if path.suffix.lower() == ".ipynb":
        _refuse(option, path, "that is a notebook's name")
    if not path.exists():
        return
    is_ours, what = _KINDS[option]
    try:
        data = read_file(path.resolve(), LARGEST)
    except NotReadable as error:
        raise NotReadable(f"{option} {error}") from None
    if data.strip() and not is_ours(data):
        _refuse(option, path, f"it is no {what} of an earlier run")


def _is_table(data: bytes) -> bool:
    first = next(csv.reader(io.StringIO(data.partition(b"\n")[0].decode("utf-8", "replace"))), [])
    return first[:4] == list(HEAD[:4])


def _is_record(data: bytes) -> bool:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(rows, list) and all(
        isinstance(row, dict) and {"path", "digest"} <= row.keys() for row in rows
    )


_KINDS: dict[str, tuple[Callable[[bytes], bool], str]] = {
    TABLE: (_is_table, "table"),
    RECORD: (_is_record, "file of grades"),
}


def _make_folder(option: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        why = {errno.ENOTDIR: "a part of it is a file", errno.EEXIST: "it is a file"}
        _refuse(option, folder, why.get(error.errno or 0, error.strerror or "it cannot be made"))


def _real(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _refuse(option: str, path: Path, why: str) -> None:
    raise NotReadable(f"{option} {quote(str(path))}: {why}; {PLACE[option]} that is new or of an earlier run")
