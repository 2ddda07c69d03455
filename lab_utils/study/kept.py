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


def find_once(file: Path, kind: type[T], find: Callable[[], T]) -> T:
    """The `kind`, a dataclass, that `file` holds; where it holds none, what `find()` returns, which is then kept."""
    try:
        return TypeAdapter(kind).validate_python(read_small_json(file, MOST_BYTES))
    except (UnreadableFile, ValidationError):
        found = find()
    write_json(file, asdict(found))
    return found
