"""How many points an exercise gives: 1, or what the teacher's file says."""

from __future__ import annotations

import math
from pathlib import Path

from lab_utils.course.grading.files import NotReadable, read_file
from lab_utils.course.grading.names import stubs, suggest
from nanokimi.presets.plain_yaml import parse
from nanokimi.system.printable import quote
from nanokimi.system.refusals import ConfigError


def read_points(path: Path | None) -> dict[str, float]:
    """The points of every exercise of the course. Raises `NotReadable`."""
    points = dict.fromkeys(stubs(), 1.0)
    if path is None:
        return points
    try:
        given = parse(read_file(path).decode("utf-8-sig"), f"file {path}", numbered=True)
    except UnicodeDecodeError as error:
        raise NotReadable(f"{quote(str(path))}: not UTF-8 at byte {error.start}") from None
    except ConfigError as error:
        raise NotReadable(error) from None
    if not isinstance(given, dict):
        raise NotReadable(f"{quote(str(path))}: it must have a line for each exercise, such as attend: 2")
    for name, value in given.items():
        if name not in points:
            raise NotReadable(f"{quote(str(path))}: {suggest(str(name))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise NotReadable(f"{quote(str(path))}: {name} must be a number, 0 or more, not {quote(value)}")
        points[name] = float(value)
    return points
