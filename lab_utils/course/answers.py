"""Runs inside the contained process of `grade`: the cells of a learner's notebook, and each answer on its cases.

It writes down what the answers give. Whether that is right, `verdicts` decides in another process.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Write = Callable[[Any], None]


@dataclass(frozen=True)
class Cell:
    """A code cell; `exercise` is the name of the exercise that it answers, or empty."""

    source: str
    exercise: str


def main(data: bytes, write: Write) -> None:
    """First a line with the exercises that the notebook should answer, or with the reason why it cannot be graded.

    Then a line for each exercise: what its answer gives on every case, or what is wrong with its cell.
    """
    try:
        cells = read_cells(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        write({"not gradable": "not a notebook"})
        return
    if not any(cell.exercise for cell in cells):
        write({"expected": []})
        return
    # Only now, for these take two seconds.
    from lab_utils.course.chapters import all_exercises

    exercises = all_exercises()
    numbers = [number for number, cell in enumerate(cells) if cell.exercise in exercises]
    run = _prepare(cells[: max(numbers, default=-1) + 1])
    # All exercises of each chapter of which the notebook has some, so that a deleted cell counts as missing.
    chapters = {exercises[cells[number].exercise].notebook for number in numbers}
    write({"expected": [e.name for e in exercises.values() if e.notebook in chapters]})
    run(write)
    write({"end": True})


def read_cells(notebook: Any) -> list[Cell]:
    """The code cells of a notebook (nbformat 4) but for the check cells. A learner's front end keeps ids and tags."""
    if notebook["nbformat"] != 4:
        raise ValueError("another format")
    found = []
    for cell in notebook["cells"]:
        tags = cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] != "code" or "check" in tags:
            continue
        source = cell["source"]
        name = str(cell.get("id", "")).removesuffix("-exercise") if "exercise" in tags else ""
        found.append(Cell(source if isinstance(source, str) else "".join(source), name))
    return found


def _prepare(cells: list[Cell]) -> Callable[[Write], None]:
    """A function that runs the cells and their answers. What it needs is loaded before a learner's time begins."""
    from lab_utils.course.attempt import run_cases
    from lab_utils.course.chapters import all_exercises
    from lab_utils.course.portable import pack_attempt
    from lab_utils.course.usual_state import usual_state

    exercises, run_cell, names = all_exercises(), *_start_shell()
    originals = _Originals()
    with usual_state():
        cases = {
            cell.exercise: exercises[cell.exercise].cases() for cell in cells if cell.exercise in exercises
        }

    def run(write: Write) -> None:
        for cell in cells:
            error = run_cell(cell.source)
            if cell.exercise not in exercises:
                continue
            line: dict[str, Any] = {"exercise": cell.exercise}
            exercise, answer = exercises[cell.exercise], names.get(cell.exercise, _NOTHING)
            with originals:
                if error is not None:
                    line["error"] = _describe(error)
                elif answer is _NOTHING:
                    line["missing"] = True
                elif answer is exercise.core:
                    line["core"] = True
                else:
                    line["attempt"] = pack_attempt(run_cases(exercise, cases[cell.exercise], answer))
                write(line)

    return run


def _start_shell() -> tuple[Callable[[str], BaseException | None], dict[str, Any]]:
    """A function that runs a cell as a kernel does and returns its error, and the namespace of the cells.

    Nothing that a cell shows is kept.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.display_pub.publish = lambda *args, **kwargs: None
    shell.showtraceback = shell.showsyntaxerror = shell._showtraceback = lambda *args, **kwargs: None
    shell.ask_exit = lambda: None
    # Bound here: a cell may replace the attribute.
    run = shell.run_cell

    def run_cell(source: str) -> BaseException | None:
        try:
            for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
                if getattr(getattr(sys, name), "closed", True):  # by an earlier cell; the shell needs them
                    setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
            result = run(source, store_history=False, silent=True)
            return result.error_before_exec or result.error_in_exec
        except Exception as error:  # the shell itself, after what the notebook did to it
            return error

    return run_cell, shell.user_ns


def _describe(error: BaseException) -> str:
    """The error in one line. That of a syntax error names a line of the cell; its file has a name that IPython gave."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{name} in line {error.lineno}: {str(error.msg)[:500]}"
    if isinstance(error, MemoryError) and not error.args:
        return f"{name}: it wants more memory than a notebook may take here"
    try:
        lines = str(error).splitlines()
    except Exception:  # a class of the learner's, whose text raises: its name is left
        lines = []
    return f"{name}: {lines[0][:500]}" if lines else name


class _Originals:
    """The functions of Python, torch and this project as they are before a notebook runs.

    A notebook may replace them for its own ends, or by accident. In a `with` block the originals are back in their
    places; afterwards the notebook's own are.
    """

    def __init__(self) -> None:
        import torch

        watched = ("math", "torch", "torch.nn", "torch.nn.functional", "torch.linalg")
        owners: list[Any] = [
            module
            for name, module in list(sys.modules.items())
            if isinstance(module, ModuleType)
            and (name in watched or name.split(".")[0] in ("nanokimi", "lab_utils"))
        ]
        self._saved = [(owner, dict(vars(owner))) for owner in [*owners, torch.Tensor, torch.nn.Module]]
        self._builtins = vars(builtins)
        self._saved_builtins = self._builtins.copy()

    def __enter__(self) -> None:
        # The builtins come back first, without the use of any of them.
        self._theirs = self._builtins.copy()
        self._builtins.update(self._saved_builtins)
        self._replaced = [
            (owner, name, vars(owner).get(name, _NOTHING))
            for owner, saved in self._saved
            for name, value in saved.items()
            if vars(owner).get(name, _NOTHING) is not value
        ]
        originals = {id(owner): saved for owner, saved in self._saved}
        for owner, name, _ in self._replaced:
            setattr(owner, name, originals[id(owner)][name])

    def __exit__(self, *error: object) -> None:
        for owner, name, value in self._replaced:
            if value is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        self._builtins.update(self._theirs)


_NOTHING = object()
