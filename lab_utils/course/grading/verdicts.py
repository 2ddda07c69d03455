"""Runs inside a second contained process of `grade`, without a line of a learner's: it judges what the answers gave.

What a notebook writes is data here. It can give wrong values, but no verdict.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import Exercise
from lab_utils.course.grading.answers import Write
from lab_utils.course.grading.portable import unpack_attempt
from lab_utils.course.grading.unseen import unseen_cases
from lab_utils.course.judge import AnswerKey, compare
from lab_utils.course.judgement import CheckResult, sentences
from lab_utils.course.relations.standins import run
from lab_utils.course.usual_state import usual_state

LONGEST = 2000  # letters of a report's line


def main(data: bytes, write: Write) -> None:
    """One line for each exercise that `answers` wrote about: its name, status, what to say, and the known mistake.

    The data are the seed for unseen inputs in a line of its own, and then what `answers` wrote.
    """
    seed, _, text = data.partition(b"\n")
    found: dict[str, dict[str, Any]] = {}
    times: Counter[str] = Counter()
    for each in text.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            line = json.loads(each)
            if isinstance(line, dict) and str(line.get("exercise")) in all_exercises():
                found[str(line["exercise"])] = line
                times[str(line["exercise"])] += 1
    for name, line in found.items():
        if times[name] > 1:
            judged = _failed(
                "The notebook wrote into the grader's own lines, so nothing can be said of this answer."
            )
        else:
            judged = judge_line(name, line, int(seed))
        write({"exercise": name, **judged})


def judge_line(name: str, line: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """The judgement on one answer: `status`, `says`, `mistake`, and `report`, the lines of the panel."""
    if "error" in line:
        return _failed(f"The cell raises {str(line['error'])[:600]}")
    if "lacking" in line:
        return _failed(str(line["lacking"])[:600]) | {"status": "missing"}
    if "core" in line:
        return _failed("It is the core's own function, imported or built on.")
    if "died" in line:
        return _failed("It ends the process in which it runs, or its answer is too large.")
    exercise = all_exercises()[name]
    key = AnswerKey(exercise)
    try:
        attempt = unpack_attempt(line.get("attempt"), len(key.cases))
    except (ValueError, MemoryError):
        return _failed("What the answer gave cannot be read.")
    result = compare(key, attempt)
    if result.status == "passed":
        return _judge_unseen(exercise, key, line.get("unseen"), seed)
    if result.status == "not tried":
        says = f"Not written: {name} still raises NotImplementedError, as the stub does."
        return {"status": result.status, "says": says, "mistake": "", "report": [says]}
    if result.status == "begun":
        says = f"Begun, not finished: {name} does something, and then raises NotImplementedError."
        return {"status": result.status, "says": says, "mistake": "", "report": [says]}
    found = result.diagnosis
    lines = _report(result)
    says = found.says if found and not exercise.is_hunt else lines[0]
    return {"status": result.status, "says": says, "mistake": found.name if found else "", "report": lines}


def _judge_unseen(exercise: Exercise, key: AnswerKey, data: Any, seed: int) -> dict[str, Any]:
    """The judgement on an answer that is right on all known cases: it must be so on others too."""
    passed = {"status": "passed", "says": "", "mistake": "", "report": []}
    if exercise.is_hunt:
        return passed
    with usual_state():
        cases = unseen_cases(key.cases, seed)
    try:
        attempt = unpack_attempt(data, len(cases))
    except (ValueError, MemoryError):
        return _failed("What the answer gave for unseen inputs cannot be read.")
    if attempt.why:
        return _failed("On unseen inputs of the same size it does not come to an end.")
    for case, outcome in zip(cases, attempt.outcomes, strict=True):
        # Made by machine: some the core itself does not take.
        if run(exercise, exercise.core, case) is not None:
            one = AnswerKey(replace(exercise, cases=lambda case=case: [case], mistakes=()))
            result = compare(one, replace(attempt, outcomes=(outcome,)))
            if result.status != "passed":
                lines = _report(result)
                start = "It is right on the check's own inputs and wrong on others."
                return _failed(f"{start} {lines[0]}") | {"report": [start, *lines]}
    return passed


def _report(result: CheckResult) -> list[str]:
    """The lines of the panel, without what only a notebook can do."""
    lines = [line.partition("Stuck? ")[0].strip()[:LONGEST] for line in sentences(result)]
    return [line for line in lines if line]


def _failed(says: str) -> dict[str, Any]:
    return {"status": "failed", "says": says, "mistake": "", "report": [says]}
