"""check(your_function): a panel that says whether it is right, and what is wrong; the logbook notes the outcome."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab_utils.course.attempt import SECONDS, allow_seconds
from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.judge import judge
from lab_utils.course.judgement import CheckResult
from lab_utils.course.logbook import Logbook
from nanokimi.system.checked import fits_signature


@fits_signature
def check(answer: Callable | str = "", *, seconds: float = SECONDS) -> CheckResult:
    """The judgement on a learner's function or class, as a panel. Its name says which exercise it answers.

    A name alone, `check("attend")`, means what the notebook calls so. Raises a `ValueError` where no exercise has that
    name, or the notebook nothing under it. All cases together may take `seconds`, at most a day; an interrupt of the
    cell ends the check before, and then nothing is noted.
    """
    if isinstance(answer, str) and not answer:
        raise ValueError("check what? Name your function, as in check(attend)")
    seconds, exercise = allow_seconds(seconds), find(answer)
    found = _look_up(answer) if isinstance(answer, str) else answer
    if found is exercise.core:
        # After the handover the name is the lab's function: nobody has solved anything with it.
        return CheckResult(exercise, "handed over", 0)
    try:
        result = judge(exercise, found, seconds)
    except KeyboardInterrupt:
        return CheckResult(exercise, "interrupted", 0)
    logbook = Logbook.open()
    logbook.note_check(exercise.name, result.status)
    if result.status != "failed":
        return result
    return replace(result, own_parts=tuple(n for n in _own_parts(found) if not logbook.solved(n)))


def _own_parts(answer: Any) -> list[str]:
    """The other exercises that the code of an answer calls by a name under which the learner's own answer stands."""
    functions = [answer, *vars(answer).values()] if isinstance(answer, type) else [answer]
    used: dict[str, Any] = {}
    for function in filter(inspect.isfunction, functions):
        codes = [function.__code__]
        for code in codes:
            names = {each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}
            used |= {name: function.__globals__.get(name) for name in names}
            codes += filter(inspect.iscode, code.co_consts)
    known = all_exercises()
    return [
        name
        for name, exercise in known.items()
        if callable(part := used.get(name)) and part is not exercise.core and part is not answer
    ]


def _look_up(name: str) -> Any:
    """What the caller of `check` calls so."""
    frame = inspect.currentframe()
    # Between the two lies what looks at the arguments of `check`, in frames that know no such name.
    while frame := frame.f_back if frame else None:
        there = {**frame.f_globals, **frame.f_locals}
        if name in there:
            return there[name]
    raise ValueError(f"nothing is called {name} here: run the cell that defines it first")
