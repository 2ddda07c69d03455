"""Runs inside a second contained process of `grade`, without a line of a learner's: it judges what the answers gave.

What a notebook writes is data here. It can give wrong values, but no verdict.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from lab_utils.course.answers import Write
from lab_utils.course.chapters import all_exercises
from lab_utils.course.judge import AnswerKey, compare
from lab_utils.course.judgement import sentences
from lab_utils.course.portable import unpack_attempt


def main(data: bytes, write: Write) -> None:
    """One line for each exercise that `answers` wrote about: its name, status, what to say, and the known mistake."""
    found: dict[str, dict[str, Any]] = {}
    for text in data.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict) and str(line.get("exercise")) in all_exercises():
                found[str(line["exercise"])] = line
    for name, line in found.items():
        write({"exercise": name, **judge_line(name, line)})


def judge_line(name: str, line: dict[str, Any]) -> dict[str, str]:
    """The judgement on one answer: `status`, `says` and `mistake`."""
    if "error" in line:
        return _failed(f"The cell raises {str(line['error'])[:600]}")
    if "missing" in line:
        return _failed(f"The cell defines nothing called {name}.")
    if "core" in line:
        return _failed("It is the core's own function, imported.")
    key = AnswerKey(all_exercises()[name])
    try:
        attempt = unpack_attempt(line.get("attempt"), len(key.cases))
    except (ValueError, MemoryError):
        return _failed("What the answer gave cannot be read.")
    result = compare(key, attempt)
    if result.status == "passed":
        return {"status": "passed", "says": "", "mistake": ""}
    if result.status == "not tried":
        says = f"Not written: {name} still raises NotImplementedError, as the stub does."
        return {"status": result.status, "says": says, "mistake": ""}
    found = result.diagnosis
    says = found.says if found and not result.exercise.is_hunt else sentences(result)[0]
    return {"status": result.status, "says": says, "mistake": found.name if found else ""}


def _failed(says: str) -> dict[str, str]:
    return {"status": "failed", "says": says, "mistake": ""}
