"""What a job has found, kept in a file beside its work: a study that is begun again does nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from lab_utils.bench.results import MOST_BYTES
from nanokimi.system.atomic import write_json
from nanokimi.system.reading import UnreadableFile, read_small_json

T = TypeVar("T")


def read_kept(file: Path, kind: type[T]) -> T | None:
    """The `kind`, a dataclass, that `file` holds; None where it holds none."""
    try:
        return TypeAdapter(kind).validate_python(read_small_json(file, MOST_BYTES))
    except (UnreadableFile, ValidationError):
        return None


def find_once(file: Path, kind: type[T], find: Callable[[], T]) -> T:
    """What `file` holds; where it holds nothing, what `find()` returns, which is then kept."""
    kept = read_kept(file, kind)
    if kept is not None:
        return kept
    found = find()
    write_json(file, asdict(found))
    return found
