"""A hunt's piece of code in a process of its own, where nothing tells which of the pieces it is.

It loses its name, its module, its text and its place in a file, and the tables that list all pieces are emptied.
"""

from __future__ import annotations

import sys
from types import CellType, CodeType, FunctionType
from typing import Any

from lab_utils.course import anonymous
from lab_utils.course.exercise import Case

HERE = "lab_utils.course.chapters."
PIECE = "piece_of_code"


def only(case: Case, cases: list[Case]) -> Case:
    """The case whose piece is all that is left. For a process that ends after it."""
    piece = case.args[0]
    copies: dict[int, Any] = {}
    alone = Case("", (_unnamed(piece, copies), *case.args[1:]))
    cases.clear()
    anonymous._BEHIND.clear()
    for name in [name for name in sys.modules if name.startswith(HERE)]:
        del sys.modules[name]
    return alone


def _unnamed(value: Any, copies: dict[int, Any]) -> Any:
    """A function of the chapters without its name, or a class or an object of one, and all that they use."""
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, FunctionType) and value.__module__.startswith(HERE):
        return _unnamed_function(value, copies)
    cls = value if isinstance(value, type) else type(value)
    if cls.__module__.startswith(HERE):
        copies[id(value)] = value
        for each in cls.__mro__:
            if each.__module__.startswith(HERE):
                _hide_class(each, copies)
    return value


def _unnamed_function(function: FunctionType, copies: dict[int, Any]) -> FunctionType:
    space: dict[str, Any] = {"__builtins__": __builtins__, "__name__": PIECE}
    closure = tuple(CellType() for _ in function.__closure__ or ()) or None
    made = FunctionType(
        _bare(function.__code__, function.__doc__), space, PIECE, function.__defaults__, closure
    )
    made.__kwdefaults__ = function.__kwdefaults__
    copies[id(function)] = made
    for name in _names_in(function.__code__):
        if name in function.__globals__:
            space[name] = _unnamed(function.__globals__[name], copies)
    for new, old in zip(closure or (), function.__closure__ or (), strict=True):
        new.cell_contents = _unnamed(old.cell_contents, copies)
    return made


def _hide_class(cls: type, copies: dict[int, Any]) -> None:
    """The class as it is, for `super` knows it, without its names and texts."""
    cls.__name__ = cls.__qualname__ = PIECE
    for member in list(vars(cls).values()):
        if isinstance(member, FunctionType) and member.__module__.startswith(HERE):
            member.__code__ = _bare(member.__code__, member.__doc__)
            member.__qualname__, member.__module__, member.__doc__ = PIECE, PIECE, None
    cls.__module__, cls.__doc__ = PIECE, None


def _bare(code: CodeType, text: str | None) -> CodeType:
    """The code without what says where it comes from."""
    consts = tuple(
        _bare(const, None) if isinstance(const, CodeType) else None if text and const == text else const
        for const in code.co_consts
    )
    return code.replace(
        co_name=PIECE,
        co_qualname=PIECE,
        co_filename="<piece>",
        co_firstlineno=1,
        co_linetable=b"",
        co_consts=consts,
    )


def _names_in(code: CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))
