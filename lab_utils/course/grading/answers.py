"""Runs inside the contained process of `grade`: the cells of a learner's notebook, and each answer on its cases.

It writes down what the answers give. Whether that is right, `verdicts` decides in another process.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from lab_utils.course.grading.cells import NotANotebook, read_cells
from lab_utils.course.grading.names import stubs
from lab_utils.course.grading.plan import Plan, make_plan

Write = Callable[[Any], None]
# The modules whose functions are put back before an answer runs, besides those of this project.
WATCHED = (
    "math",
    "json",
    "os",
    "select",
    "time",
    "gc",
    "inspect",
    "copy",
    "types",
    "functools",
    "base64",
    "threading",
)
WATCHED += ("torch", "torch.nn", "torch.nn.functional", "torch.linalg")
# The magics of a line in which an error is one of the learner's own code.
RUN_CODE = ("time", "timeit", "prun", "run")


def main(data: bytes, write: Write) -> None:
    """First a line with the exercises that the notebook should answer, or with the reason why it cannot be graded.

    Then a line for each exercise: what its answer gives on every case, or what is wrong with its cell. The data are a
    seed for unseen inputs in a line of its own, and the notebook.
    """
    first, _, text = data.partition(b"\n")

    try:
        notebook = json.loads(text)
        cells = read_cells(notebook, stubs().keys())
    except NotANotebook as error:
        write({"not gradable": str(error)})
        return
    except json.JSONDecodeError as error:
        write({"not gradable": f"not a notebook: line {error.lineno} of the file is no JSON"})
        return
    except (ValueError, TypeError, RecursionError):
        write({"not gradable": "not a notebook"})
        return
    if not any(cell.named in stubs() or cell.bound or cell.checks for cell in cells):
        write({"expected": []})
        return
    from lab_utils.course.chapters import all_exercises

    exercises = all_exercises()
    plan = make_plan(cells, {name: exercise.notebook for name, exercise in exercises.items()})
    run = _prepare(plan, int(first))
    numbers = sorted({exercises[name].notebook for name in plan.expected})
    write({"expected": plan.expected, "numbers": numbers, "made with": _read_version(notebook)})
    run(write)


def _read_version(notebook: dict[str, Any]) -> str:
    """Which version of the lab the notebook's file names, where it names one."""
    about = notebook.get("metadata")
    ours = about.get("nanokimi") if isinstance(about, dict) else None
    version = ours.get("version") if isinstance(ours, dict) else None
    return version[:40] if isinstance(version, str) else ""


def _prepare(plan: Plan, seed: int) -> Callable[[Write], None]:
    """A function that runs the steps and the answers. What it needs is loaded before a learner's time begins."""
    from lab_utils.course.chapters import all_exercises
    from lab_utils.course.grading.trial import Trial, load_nothing_later

    exercises, run_cell, names = all_exercises(), *_start_shell()
    load_nothing_later()
    trials = {name: Trial(exercises[name], seed) for name in plan.expected if name not in plan.lacking}
    originals = _Originals()

    def run(write: Write) -> None:
        kept: dict[str, dict[str, Any]] = {}
        for name, why in plan.lacking.items():
            write({"exercise": name, "lacking": why})
        for step in plan.steps:
            for name in step.judges:
                with originals:
                    found = kept[name]
                    write(
                        {"exercise": name}
                        | (trials[name].run(found["answer"]) if "answer" in found else found)
                    )
            before = {name: names.get(name, _NOTHING) for name in step.keeps}
            error = run_cell(step.source) if step.source.strip() else None
            with originals:
                for name in step.keeps:
                    answer = names.get(name, _NOTHING)
                    if answer is not _NOTHING and (error is None or answer is not before[name]):
                        kept[name] = {"answer": answer}
                    elif error is not None:
                        kept[name] = {"error": _describe(error)}
                    else:
                        kept[name] = {"lacking": f"The cell defines nothing called {name}."}
        with originals:
            write({"end": True})

    return run


def _start_shell() -> tuple[Callable[[str], BaseException | None], dict[str, Any]]:
    """A function that runs a cell as a kernel does and returns its error, and the namespace of the cells.

    Nothing that a cell shows is kept. A line for a front end, a terminal or the network does not stop its cell.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.display_pub.publish = lambda *args, **kwargs: None
    shell.showtraceback = shell.showsyntaxerror = shell._showtraceback = lambda *args, **kwargs: None
    shell.ask_exit = lambda: None
    shell.enable_gui = lambda gui=None: None  # `%matplotlib inline` asks for it
    shell.system = shell.system_raw  # the other way needs a terminal, which is not there
    run_magic = shell.run_line_magic

    def run_line_magic(magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        try:
            return run_magic(magic_name, line, _stack_depth + 1)
        except Exception:  # of any kind: what it asks for is not there while grading
            if magic_name in RUN_CODE:
                raise
            return None

    shell.run_line_magic = run_line_magic
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

        def is_ours(name: str) -> bool:
            return name.split(".")[0] in ("nanokimi", "lab_utils")

        modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
        ours = [module for module in modules if is_ours(module.__name__)]
        members = [each for module in ours for each in vars(module).values()]
        classes = {each for each in members if isinstance(each, type) and is_ours(each.__module__)}
        others = [module for module in modules if module.__name__ in WATCHED]
        owners: list[Any] = [*ours, *others, *classes, torch.Tensor, torch.nn.Module]
        self._saved = [(owner, dict(vars(owner))) for owner in owners]
        # A function can also be given another code, in its place.
        functions = {
            each for _, saved in self._saved for each in saved.values() if isinstance(each, FunctionType)
        }
        self._codes = [(function, function.__code__) for function in functions]
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
        # torch.Tensor has most of its methods from a parent: one that was put above it hides it.
        hiding = [
            (owner, name, value)
            for owner, saved in self._saved
            if isinstance(owner, type)
            for name, value in vars(owner).items()
            if name not in saved and any(name in vars(parent) for parent in owner.__mro__[1:])
        ]
        for owner, name, _ in hiding:
            delattr(owner, name)
        self._replaced += hiding
        for function, code in self._codes:
            if function.__code__ is not code:
                function.__code__ = code

    def __exit__(self, *error: object) -> None:
        for owner, name, value in self._replaced:
            if value is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        self._builtins.update(self._theirs)


_NOTHING = object()
