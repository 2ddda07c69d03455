"""What a reader has solved: the answers in the saved cells of their notebooks, each judged again.

An answer needs more than its own cell. The names that it reads are looked up in its notebook: imports, functions,
classes and plain constants of other cells. Nothing else of these cells is run, least of all a training. What is not
there either comes from the module of the lab's own version.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, UnionType
from typing import Any

from lab_utils.course.attempt import SECONDS
from lab_utils.course.exercise import Exercise
from lab_utils.course.grading.cells import STUB, WORK, Cell, read_cells
from lab_utils.course.grading.files import LARGEST
from lab_utils.course.judge import judge
from lab_utils.course.judgement import sentences
from lab_utils.course.names import free_names
from lab_utils.course.usual_state import functions_kept, usual_state
from nanokimi.system.deadline import call_within
from nanokimi.system.printable import one_line
from nanokimi.system.reading import read_small_json

_IMPORTS = ast.Import | ast.ImportFrom
_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FUNCTIONS = _DEFINITIONS | ast.Lambda  # what is inside runs later
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp  # their names stay inside


@dataclass(frozen=True)
class Answer:
    """A saved answer: code that defines it, with what it needs of its notebook; `missing` are names found nowhere."""

    exercise: Exercise
    code: CodeType
    borrowed: tuple[str, ...]  # from the module of the lab's own version
    missing: tuple[str, ...]

    def define(self, names: dict[str, Any]) -> Any:
        """The reader's function or class. `names` is the namespace that it lives in from now on."""
        exec(self.code, names)
        return names[self.exercise.name]


@dataclass
class Work:
    """What was found: the answers that pass their checks, for each other one why it is not counted, and the files.

    `unread` says of a file that is there why it could not be read.
    """

    solved: dict[str, Answer] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def read_work(folder: Path, files: Mapping[str, Sequence[Exercise]], seconds: float = SECONDS) -> Work:
    """The work in these notebooks of `folder`; `files` has the exercises of each. An answer may take `seconds`.

    A notebook that is not there has no answers.
    """
    work = Work()
    with _quiet():
        for file, exercises in files.items():
            try:
                cells = read_cells(read_small_json(folder / file, LARGEST), [e.name for e in exercises])
            except ValueError as error:  # UnreadableFile and NotANotebook are such errors
                if (folder / file).exists():
                    work.unread[file] = one_line(error)
                continue
            work.read.append(file)
            notebook = _Notebook(file, [cell for cell in cells if cell.kind == "code"])
            for exercise in exercises:
                _judge_saved(notebook, exercise, seconds, work)
    return work


def _judge_saved(notebook: _Notebook, exercise: Exercise, seconds: float, work: Work) -> None:
    """Judge the answer in the exercise's cell; where that is no answer, another cell that defines the name."""
    for number in notebook.places(exercise.name):
        try:
            answer = notebook.answer(exercise, number)
            says = _judge(answer, seconds)
        except SyntaxError as error:
            line = f"line {error.lineno} of " if error.lineno else ""
            answer, says = None, f"{line}its cell is no Python: {error.msg}"
        if says is None:
            continue
        if answer and not says:
            work.solved[exercise.name] = answer
            work.refused.pop(exercise.name, None)
            return
        work.refused.setdefault(exercise.name, one_line(says, 300))


def _judge(answer: Answer, seconds: float) -> str | None:
    """Why an answer does not count, in a sentence; empty where it passes, and None for a stub."""
    exercise = answer.exercise
    if exercise.name in answer.missing:
        return f"its cell defines nothing called {exercise.name}"
    core = vars(importlib.import_module(exercise.core.__module__))
    names = {"__name__": "__main__"} | {name: core[name] for name in answer.borrowed}
    try:
        with usual_state(), functions_kept():
            found = call_within(seconds, lambda: answer.define(names), interrupt=True)
    except TimeoutError:
        return f"its cell does not come to an end within {seconds:g} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the reader's code raises, sys.exit() included
        return _say(f"its cell raises {type(error).__name__}", error, answer)
    if found is exercise.core:
        return "it is the lab's own, imported"
    result = judge(exercise, found, seconds)
    if result.status == "passed":
        return ""
    if result.status == "not tried":
        return None
    return _say("it fails its check", sentences(result)[0], answer)


def _say(what: str, why: object, answer: Answer) -> str:
    hidden = [name for name in answer.missing if name in str(why)]
    computed = f" ({', '.join(hidden)} is computed in another cell, which is not run)" if hidden else ""
    return f"{what}: {why}{computed}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that an answer prints is shown."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


# ---------------------------------------------------------------- a notebook, statement by statement


@dataclass(frozen=True, eq=False)
class _Statement:
    """A statement outside of any function: the number of its cell, the names that it gives, and how it gives them."""

    node: ast.stmt
    cell: int
    gives: frozenset[str]

    @property
    def is_from_future(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.module == "__future__"

    @property
    def is_plain(self) -> bool:
        """Whether it takes no time and changes nothing: an import, a definition, an assignment without any call."""
        if isinstance(self.node, ast.Assign | ast.AnnAssign):
            return not any(isinstance(part, ast.Call | ast.Await) for part in _parts(self.node, _FUNCTIONS))
        return isinstance(self.node, _IMPORTS | _DEFINITIONS)


class _Notebook:
    """The code cells of a notebook."""

    def __init__(self, file: str, cells: Sequence[Cell]):
        self.file, self.cells = file, cells
        self._statements: list[_Statement] = []
        self._errors: dict[int, SyntaxError] = {}
        for number, cell in enumerate(cells):
            try:
                nodes = ast.parse(cell.source).body
                self._statements += [_Statement(node, number, _given(node)) for node in nodes]
            except SyntaxError as error:
                self._errors[number] = error
            except (ValueError, RecursionError, MemoryError) as error:  # a zero byte; thousands of brackets
                self._errors[number] = SyntaxError(str(error))

    def places(self, name: str) -> list[int]:
        """The cells that may hold the answer: that of the exercise first, then others that define the name."""
        own = [i for i, cell in enumerate(self.cells) if cell.identity == f"{name}-exercise"]
        kinds = [{bound.kind for bound in cell.bound if bound.name == name} for cell in self.cells]
        others = [i for i, found in enumerate(kinds) if WORK in found and i not in own]
        return [i for i in [*own, *reversed(others)] if kinds[i] != {STUB}]

    def answer(self, exercise: Exercise, number: int) -> Answer:
        """The answer in the cell of this number, with all that it needs. Raises the `SyntaxError` of its cell."""
        if number in self._errors:
            raise self._errors[number]
        chosen, missing = self._gather(exercise.name, number)
        # These come before all else, and act on every later cell.
        future = [s for s in self._statements if s.cell <= number and s.is_from_future]
        rest = [s for s in self._statements if s in chosen and not s.is_from_future]
        code = compile(
            ast.Module([s.node for s in [*future, *rest]], []), self.file, "exec", dont_inherit=True
        )
        unknown = missing - vars(builtins).keys()
        borrowed = unknown & vars(importlib.import_module(exercise.core.__module__)).keys() - {exercise.name}
        return Answer(exercise, code, tuple(sorted(borrowed)), tuple(sorted(unknown - borrowed)))

    def _gather(self, name: str, at: int) -> tuple[set[_Statement], set[str]]:
        """The statements that give `name` in the cell `at` and all that they read; the names that none gives."""
        todo, seen = {name}, set[str]()
        chosen, missing = set[_Statement](), set[str]()
        while todo:
            seen.add(wanted := todo.pop())
            found = self._find(wanted, at)
            if not found:
                missing.add(wanted)
            for statement in found - chosen:
                todo |= free_names(ast.unparse(statement.node)) - seen
            chosen |= found
        return chosen, missing

    def _find(self, name: str, at: int) -> set[_Statement]:
        """The statements that give `name` to the cell `at`: its own; else plain ones of the last cell before it that
        gives the name, or of the first one behind it. A name that must be computed there is given by none."""
        all_of_them = [s for s in self._statements if name in s.gives]
        cells = {s.cell for s in all_of_them}
        before, behind = [n for n in cells if n <= at], [n for n in cells if n > at]
        if not cells:
            return set()
        home = max(before) if before else min(behind)
        found = {s for s in all_of_them if s.cell == home}
        return found if home == at or all(s.is_plain for s in found) else set()


def _given(node: ast.stmt) -> frozenset[str]:
    """The names that a statement defines, imports, assigns, or of which it sets an attribute."""
    if isinstance(node, _DEFINITIONS):
        return frozenset({node.name})
    if isinstance(node, _IMPORTS):
        return frozenset(alias.asname or alias.name.partition(".")[0] for alias in node.names)
    names: set[str] = set()
    for part in _parts(node, _FUNCTIONS | _COMPREHENSIONS):
        if isinstance(part, _IMPORTS | _DEFINITIONS):
            names |= _given(part)
        if isinstance(part, ast.Name | ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            while isinstance(part, ast.Attribute | ast.Subscript):
                part = part.value
            names |= {part.id} if isinstance(part, ast.Name) else set()
    return frozenset(names)


def _parts(node: ast.AST, closed: UnionType) -> Iterator[ast.AST]:
    """`node` and what it is made of, without what is inside the `closed` kinds."""
    yield node
    if not isinstance(node, closed):
        for child in ast.iter_child_nodes(node):
            yield from _parts(child, closed)
