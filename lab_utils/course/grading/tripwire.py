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

from lab_utils.course.exercise import Exercise, Problem

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

    def set(self, exercise: Exercise) -> None:
        """From now on, in this process, the core's answer cannot be called but by the exercise's own observer."""
        core = exercise.core
        if hasattr(core, "cache_clear"):
            core.cache_clear()  # what it has computed before would come without a call
        codes = {id(function): function.__code__ for function in _functions_of(core)}
        observer = sys.modules[inspect.unwrap(exercise.observe).__module__]
        for key, value in list(vars(observer).items()):
            if value is core:
                setattr(observer, key, self._make_twin(core, codes))
        # Functions that somebody made of the same code fall too.
        for each in gc.get_referrers(*codes.values()):
            if type(each) is FunctionType:
                each.__code__ = _trip(each.__code__, exercise.name)

    def _make_twin(self, core: Any, codes: dict[int, CodeType]) -> Any:
        """What does the same as the core's answer, for an observer. It holds no function that could be found in it."""
        if not isinstance(core, type):
            return self._guard(core, codes)
        space = {key: self._guard_member(value, codes) for key, value in vars(core).items()}
        return type(core)(core.__name__, (core,), {key: value for key, value in space.items() if value})

    def _guard_member(self, member: Any, codes: dict[int, CodeType]) -> Any:
        """A method, property, static or class method of the core's class, guarded; None for what is none of ours."""
        if isinstance(member, property):
            return property(self._guard(member.fget, codes)) if _is_ours(member.fget) else None
        if isinstance(member, staticmethod | classmethod):
            return type(member)(self._guard(member.__func__, codes)) if _is_ours(member.__func__) else None
        return self._guard(member, codes) if _is_ours(member) else None

    def _guard(self, function: Callable, codes: dict[int, CodeType]) -> Callable:
        """The function, which runs only where all that is being called is the lab's own code."""

        @functools.wraps(function)
        def guarded(*args: Any, **given: Any) -> Any:
            frame = inspect.currentframe()
            while frame is not None:
                if id(frame.f_code) not in self._known:
                    refuse(function.__name__)
                frame = frame.f_back
            return _copy(function, codes)(*args, **given)

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


def _copy(function: Any, codes: dict[int, CodeType]) -> FunctionType:
    """The function once more, with the code that it had, and so what it wraps."""
    if not isinstance(function, FunctionType):  # what `functools.cache` makes
        function = inspect.unwrap(function)
    inner = getattr(function, "__wrapped__", None)
    closure = function.__closure__
    if isinstance(inner, FunctionType) and closure is not None:
        again = _copy(inner, codes)
        closure = tuple(CellType(again) if _holds(cell, inner) else cell for cell in closure)
    code = codes.get(id(function), function.__code__)
    made = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
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
                while isinstance(each, FunctionType) or hasattr(each, "cache_clear"):  # functools.cache
                    if isinstance(each, FunctionType):
                        yield from _inner(each.__code__)
                    each = getattr(each, "__wrapped__", None)


def _inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _inner(const)
