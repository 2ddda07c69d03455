"""hint(f) gives the next of three hints; reveal(f) shows the core's own source; show_code(f) shows any source."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable

from lab_utils.course.chapters import find
from lab_utils.course.logbook import Logbook
from lab_utils.show.code import Code
from lab_utils.show.note import BLUE, Note


def hint(answer: Callable | str) -> Note:
    """The next hint for an exercise; after the third the third again."""
    exercise = find(answer)
    logbook = Logbook.open()
    number = min(logbook.hints.get(exercise.name, 0) + 1, len(exercise.hints))
    logbook.note_hint(exercise.name, number)
    if number < len(exercise.hints):
        more = f"hint({exercise.name}) again says more."
    else:
        more = f"That was the last one; reveal({exercise.name}) shows the answer."
    return Note(f"Hint {number} of {len(exercise.hints)}: {exercise.hints[number - 1]}\n{more}", BLUE)


def reveal(answer: Callable | str) -> Code:
    """The right answer to an exercise: the core's own source, folded away."""
    exercise = find(answer)
    core = exercise.core
    return Code(source_of(core), f"The lab's version: {core.__module__}.{core.__qualname__}")


def show_code(function: Callable) -> Code:
    """The source of any function or class."""
    return Code(source_of(function))


def source_of(function: Callable) -> str:
    """The source of a function or class, without common indentation."""
    return textwrap.dedent(inspect.getsource(function)).rstrip()
