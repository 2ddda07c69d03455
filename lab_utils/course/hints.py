"""hint(f) gives the next of three hints; reveal(f) shows the core's own source; show_code(f) shows any source."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from types import ModuleType

from IPython.core.getipython import get_ipython

from lab_utils.course.chapters import find
from lab_utils.course.logbook import Logbook
from lab_utils.course.names import free_names
from lab_utils.show.code import Code
from lab_utils.show.colours import BLUE
from lab_utils.show.note import Note
from lab_utils.show.words import kind_of
from nanokimi.system.checked import fits_signature
from nanokimi.system.printable import quote


@fits_signature
def hint(answer: Callable | str = "") -> Note:
    """The next hint for an exercise; after the third the third again. Raises a `ValueError` where none has the name."""
    if isinstance(answer, str) and not answer:
        raise ValueError("a hint for what? Name your function, as in hint(attend)")
    exercise = find(answer, "hint")
    logbook = Logbook.open()
    number = min(logbook.hints.get(exercise.name, 0) + 1, len(exercise.hints))
    logbook.note_hint(exercise.name, number)
    if number < len(exercise.hints):
        more = f"hint({exercise.name}) again says more."
    else:
        more = f"That was the last one; reveal({exercise.name}) shows the answer."
    return Note(f"Hint {number} of {len(exercise.hints)}: {exercise.hints[number - 1]}\n{more}", BLUE)


@fits_signature
def reveal(answer: Callable | str = "") -> Code:
    """The right answer to an exercise: the core's own source, folded away. It runs as it is, in a cell of its own.

    The logbook notes it: an exercise that is solved after that counts as read. A hunt's handover, which runs with all
    cells and keeps the answer folded, is not noted. Raises a `ValueError` where no exercise has the name.
    """
    if isinstance(answer, str) and not answer:
        raise ValueError("reveal what? Name your function, as in reveal(attend)")
    exercise = find(answer, "reveal")
    if _running_cell() != f"{exercise.name}-handover":
        Logbook.open().note_reveal(exercise.name)
    core = exercise.core
    source = "\n\n\n".join(filter(None, [_imports_of(core), source_of(core)]))
    return Code(source, f"The lab's version: {core.__module__}.{core.__qualname__}")


def _running_cell() -> str:
    """The id of the notebook's cell that runs now; empty where the front end does not tell it, as JupyterLab does."""
    shell = get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str(parent.get("metadata", {}).get("cellId", ""))


@fits_signature
def show_code(function: Callable) -> Code:
    """The source of any function or class. Raises a `ValueError` for what is neither, and where it is not known."""
    if isinstance(function, str) or not callable(function):
        wrong = quote(function) if isinstance(function, str) else kind_of(function)
        raise ValueError(
            f"{wrong} is no function and no class: name one without quotes or a call, as in show_code(attend)"
        )
    try:
        return Code(source_of(function))
    except (TypeError, OSError):
        raise ValueError(
            "its source is not known: show_code shows what is written in Python, in a file or a cell"
        ) from None


def source_of(function: Callable) -> str:
    """The source of a function or class, without common indentation."""
    return textwrap.dedent(inspect.getsource(function)).rstrip()


def _imports_of(core: Callable) -> str:
    """The lines that import what the source of `core` takes from its module."""
    there = vars(sys.modules[core.__module__])
    names = sorted(free_names(source_of(core)) & there.keys() - {core.__name__})
    whole = [_import_module(name, there[name]) for name in names if isinstance(there[name], ModuleType)]
    parts: dict[str, list[str]] = {}
    for name in names:
        if not isinstance(there[name], ModuleType):
            home = getattr(there[name], "__module__", None)
            is_there = isinstance(home, str) and getattr(sys.modules.get(home), name, None) is there[name]
            parts.setdefault(home if is_there else core.__module__, []).append(name)
    taken = [f"from {home} import {', '.join(names)}" for home, names in sorted(parts.items())]
    return "\n".join([*sorted(whole), *taken])


def _import_module(name: str, module: ModuleType) -> str:
    return f"import {name}" if module.__name__ == name else f"import {module.__name__} as {name}"
