"""Whether two answers gave the same for a case: a known mistake and a learner's, or the same answer twice."""

from __future__ import annotations

import re

from lab_utils.course.attempt import NO_WORDS, Outcome
from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import TEST


def agree(known: Outcome, given: Outcome, tolerance: float) -> bool:
    """Whether they are alike, apart from addresses and from Python's words for a division by zero."""
    if known.parts is None or given.parts is None:
        if known.parts is not given.parts:
            return False
        one, other = (re.sub("0x[0-9a-f]+|float (?=division)", "", o.problem) for o in (known, given))
        return one == other or _refuses_as(known, given)
    return list(known.parts) == list(given.parts) and not any(
        explain_difference(known.parts[name], given.parts[name], tolerance) for name in known.parts
    )


def _refuses_as(known: Outcome, given: Outcome) -> bool:
    """Whether a known mistake raises without words the error that the learner's own line raises with some."""
    raises = known.problem.removesuffix(NO_WORDS)
    if raises == known.problem or not given.problem.startswith(raises):
        return False
    return f" raise {raises.removeprefix('It raises ').removesuffix(': ')}" in given.place


def accept_alike(known: Outcome, given: Outcome, tolerance: float) -> bool:
    """Whether two tests say the same of a piece. One that contradicts itself is like no other."""
    return given.parts != {TEST: "changes"} and (known.parts == {TEST: "passes"}) == (
        given.parts == {TEST: "passes"}
    )
