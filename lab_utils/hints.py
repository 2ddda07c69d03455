"""hint(f), three times, each says more; reveal(f) shows the core's own source; show_code(f) any source."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lab_utils.exercises import find
from lab_utils.logbook import Logbook
from lab_utils.predict import BLUE, Note


@dataclass(frozen=True)
class Code:
    """Python source that shows with colours; folded under a title where there is one."""

    source: str
    title: str = ""

    def __repr__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        box = (
            "padding:.6em .9em;overflow-x:auto;border:1px solid #dfe3ea;border-radius:4px;background:#f8f8f8"
        )
        formatter = HtmlFormatter(
            noclasses=True,
            style="friendly",
            cssstyles=box,
            prestyles="margin:0;padding:0;background:none;font-family:monospace;font-size:.9em;line-height:1.4",
        )
        code = highlight(self.source, PythonLexer(), formatter)
        return f"<details><summary>{self.title}</summary>{code}</details>" if self.title else code


def hint(answer: Callable | str) -> Note:
    """The next hint for an exercise; after the third, the third again."""
    exercise = find(answer)
    logbook = Logbook.open()
    number = min(logbook.hints.get(exercise.name, 0) + 1, len(exercise.hints))
    logbook.note_hint(exercise.name, number)
    more = (
        f"hint({exercise.name}) again says more."
        if number < len(exercise.hints)
        else (f"That was the last one; reveal({exercise.name}) shows the answer.")
    )
    return Note(f"Hint {number} of {len(exercise.hints)}: {exercise.hints[number - 1]}\n{more}", BLUE)


def reveal(answer: Callable | str) -> Code:
    """The answer of an exercise: the core's own source, in a fold."""
    exercise = find(answer)
    core = exercise.core
    return Code(source_of(core), f"The lab's version: {core.__module__}.{core.__qualname__}")


def show_code(function: Callable) -> Code:
    """The source of any function or class."""
    return Code(source_of(function))


def source_of(function: Callable) -> str:
    return textwrap.dedent(inspect.getsource(function)).rstrip()
