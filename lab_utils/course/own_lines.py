"""Where in the learner's own code an error was raised: the line, and whether the function there is more than a stub."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sysconfig
import textwrap
from pathlib import Path
from types import CodeType

import torch

import lab_utils
import nanokimi

_PATHS = sysconfig.get_paths()
# Python, its packages, and this project: a learner wrote none of it.
_OTHERS = tuple(
    os.path.join(os.path.realpath(folder), "")
    for folder in (
        *(_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(os.path.dirname(str(package.__file__)) for package in (torch, nanokimi, lab_utils)),
    )
)
LONGEST = 100  # letters of a line


def place_of(error: BaseException) -> str:
    """The innermost line of the learner's own that the error went through, as a sentence; empty where there is none."""
    frames = _own_frames(error)
    if not frames:
        return ""
    code, number = frames[-1]
    line = linecache.getline(code.co_filename, number).strip()
    line = line if len(line) <= LONGEST else line[:LONGEST] + " ..."
    # Cells have no file, or one that the kernel writes for a debugger.
    is_file = os.path.exists(code.co_filename) and "ipykernel" not in code.co_filename
    where = Path(code.co_filename).name if is_file else "your cell"
    return f"Line {number} of {where}: {line}"


def is_begun(error: BaseException) -> bool:
    """Whether a function of the learner's that the error went through does more than raise it."""
    return any(not _is_stub(code) for code, _ in _own_frames(error))


def _own_frames(error: BaseException) -> list[tuple[CodeType, int]]:
    """The functions of the learner's own that the error went through, and the line in each, the outermost first."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        code, number = traceback.tb_frame.f_code, traceback.tb_lineno
        if _is_own(code.co_filename) and linecache.getline(code.co_filename, number).strip():
            found.append((code, number))
        traceback = traceback.tb_next
    return found


def _is_own(file: str) -> bool:
    # Type checkers write code of their own, "<@beartype(...)>".
    return not file.startswith("<@") and not os.path.realpath(file).startswith(_OTHERS)


def _is_stub(code: CodeType) -> bool:
    """Whether a function has no statement but a docstring and a `raise`. One without a source is taken for a stub."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(code))).body
        body = function.body  # type: ignore[attr-defined]
    except (OSError, SyntaxError, ValueError, AttributeError):
        return True
    return all(isinstance(each, ast.Raise) or _is_docstring(each) for each in body)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
