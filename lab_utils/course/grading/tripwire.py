"""The lab's own answer to an exercise, out of reach while a learner's answer runs.

In this process, which ends after the answer, each function of the core's answer is turned into one that refuses to be
called: whoever took a reference to it before, under whatever name, holds the same function. What observers of the
course need of it, such as a module for its weights, they get from a twin that answers to nobody else.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

from lab_utils.course.exercise import Problem

OURS = ("nanokimi", "lab_utils")


class CallsTheLabs(Problem):
    """An answer called the lab's own function."""


def refuse(name: str) -> NoReturn:
    """What a function does that was turned into a tripwire."""
    raise CallsTheLabs(f"It calls the lab's own {name}, instead of computing.")


class Tripwire:
    """Made before a learner's first line runs, so that it knows which code is the lab's."""

    def __init__(self) -> None:
        modules = [m for name, m in list(sys.modules.items()) if name.split(".")[0] in OURS]
        self._known = {id(code): code for module in [*modules, threading] for code in _codes_of(module)}

    def set(self, core: Any, name: str) -> None:
        """From now on, in this process, the functions of `core` can no longer be called but by the lab's observers."""
        functions = list(_functions_of(core))
        if hasattr(core, "cache_clear"):
            core.cache_clear()  # what it has computed before would come without a call
        copies: dict[int, FunctionType] = {}
        twin = self._make_twin(core, copies)
        for module_name, module in list(sys.modules.items()):
            if module_name.startswith("lab_utils.course.chapters."):
                for key, value in list(vars(module).items()):
                    if value is core:
                        setattr(module, key, twin)
        codes = [function.__code__ for function in functions]
        # Functions that somebody made of the same code fall too.
        kept = {id(copy) for copy in copies.values()}
        for each in gc.get_referrers(*codes):
            if type(each) is FunctionType and id(each) not in kept:
                each.__code__ = _trip(each.__code__, name)

    def _make_twin(self, core: Any, copies: dict[int, FunctionType]) -> Any:
        if not isinstance(core, type):
            return self._guard(
                _copy(core if isinstance(core, FunctionType) else inspect.unwrap(core), copies)
            )
        space = {
            key: self._guard(_copy(value, copies)) for key, value in vars(core).items() if _is_ours(value)
        }
        return type(core)(core.__name__, (core,), space)

    def _guard(self, function: FunctionType) -> Callable:
        """The function, which runs only where all that is being called is the lab's own code."""

        @functools.wraps(function)
        def guarded(*args: Any, **given: Any) -> Any:
            frame = inspect.currentframe()
            frame = frame.f_back if frame else None
            while frame is not None:
                if id(frame.f_code) not in self._known:
                    raise CallsTheLabs(f"It calls the lab's own {function.__name__}, instead of computing.")
                frame = frame.f_back
            return function(*args, **given)

        return guarded


def is_the_labs(answer: Any, core: Any) -> bool:
    """Whether the answer is the core's, built on it, or made of the very same code."""
    if answer is core or (isinstance(answer, type) and core in answer.__mro__):
        return True
    inner = inspect.unwrap(answer) if isinstance(answer, FunctionType) else answer
    return isinstance(inner, FunctionType) and any(inner.__code__ is f.__code__ for f in _functions_of(core))


def _is_ours(value: Any) -> bool:
    return isinstance(value, FunctionType) and inspect.unwrap(value).__module__.split(".")[0] in OURS


def _functions_of(core: Any) -> Iterator[FunctionType]:
    """The functions that do the core's work: those that decorators wrap, not the decorators', which others share."""
    members = vars(core).values() if isinstance(core, type) else [core]
    for member in members:
        parts = [getattr(member, name, None) for name in ("__func__", "fget")]
        for each in map(inspect.unwrap, [member, *parts]):
            if isinstance(each, FunctionType) and _is_ours(each):
                yield each


def _trip(code: CodeType, name: str) -> CodeType:
    def trip(*args, **given):
        from lab_utils.course.grading.tripwire import refuse

        refuse("NAME")

    made = trip.__code__
    consts = tuple(name if const == "NAME" else const for const in made.co_consts)
    return made.replace(co_consts=consts, co_freevars=code.co_freevars, co_name=code.co_name)


def _copy(function: FunctionType, copies: dict[int, FunctionType]) -> FunctionType:
    """The function once more; what it wraps is copied with it."""
    if id(function) in copies:
        return copies[id(function)]
    inner = getattr(function, "__wrapped__", None)
    closure = function.__closure__
    if isinstance(inner, FunctionType) and closure is not None:
        again = _copy(inner, copies)
        closure = tuple(CellType(again) if _holds(cell, inner) else cell for cell in closure)
    made = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
    )
    made.__kwdefaults__ = function.__kwdefaults__
    copies[id(function)] = made
    return made


def _holds(cell: CellType, value: Any) -> bool:
    try:
        return cell.cell_contents is value
    except ValueError:  # empty
        return False


def _codes_of(module: ModuleType) -> Iterator[CodeType]:
    """All code of a module, that inside its functions and classes too."""
    for value in list(vars(module).values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        for member in members:
            for each in (member, getattr(member, "__func__", None), getattr(member, "fget", None)):
                while isinstance(each, FunctionType):
                    yield from _inner(each.__code__)
                    each = getattr(each, "__wrapped__", None)


def _inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _inner(const)
