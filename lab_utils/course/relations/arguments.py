"""The arguments of a case, by the names that the learner's own function has for them.

Where an exercise is observed through a function of its own, a case holds other things than the learner is given: what
the learner has no name for is compared, and never named.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.calls import public_methods
from lab_utils.course.exercise import Case, Exercise, call, call_on_its_device, call_with_gradients

Path = tuple[str, ...]  # a name, and the fields in it: ("cfg", "top_k")
_DICTIONARIES = ("settings", "chosen")  # of arguments by their names


def argument_names(exercise: Exercise) -> list[str]:
    """The names of what a case holds, in its order: the learner's where the function gets just that."""
    observes = list(inspect.signature(exercise.observe).parameters.values())[1:]
    whole = exercise.observe in (call, call_with_gradients, call_on_its_device)
    if whole or [each.kind for each in observes] == [inspect.Parameter.VAR_POSITIONAL]:
        observes = list(inspect.signature(exercise.core).parameters.values())
    return [each.name for each in observes if each.kind is each.POSITIONAL_OR_KEYWORD]


def is_known(exercise: Exercise, path: Path) -> bool:
    """Whether the learner's function has this argument, so that a sentence may speak of another value for it."""
    return _inside(path)[0] in _own_names(exercise.core)


def say_path(exercise: Exercise, path: Path) -> str:
    """An argument as the learner writes it, as code: `cfg.top_k`, `stats.logits`; empty where there is no name.

    An entry of a dictionary of settings has its own name alone.
    """
    path = _inside(path)
    if path[0] in (own := _own_names(exercise.core)):
        return f"`{'.'.join(path)}`"
    fields = _fields(exercise.core)
    return f"`{fields[path[0]]}.{'.'.join(path)}`" if path[0] in fields and not own & {path[0]} else ""


def name_arguments(exercise: Exercise, text: str) -> str:
    """A text with the names of arguments where it has their numbers."""
    if exercise.observe is not call_with_gradients:
        return text
    names = argument_names(exercise)
    return re.sub(r"\bargument (\d+)\b", lambda found: f"`{names[int(found[1]) - 1]}`", text)


def _inside(path: Path) -> Path:
    return path[1:] if path[0] in _DICTIONARIES and len(path) > 1 else path


@functools.cache
def _own_names(core: Callable) -> frozenset[str]:
    """The names of all arguments that the learner writes, in the methods of a class too."""
    parts = public_methods(core).values() if isinstance(core, type) else [core]
    return frozenset(name for part in parts for name in inspect.signature(part).parameters) - {"self"}


@functools.cache
def _fields(core: Callable) -> dict[str, str]:
    """The fields of arguments that are named tuples: the argument of each."""
    if isinstance(core, type):
        return {}
    try:
        hints = typing.get_type_hints(core)
    except (NameError, TypeError):  # a hint that holds for those who check types only
        return {}
    hints.pop("return", None)
    return {field: name for name, kind in hints.items() for field in getattr(kind, "_fields", ())}


def leaves_of(exercise: Exercise, case: Case) -> dict[Path, Any]:
    """Every argument of a case, and every field of a configuration and entry of a dictionary, by its name."""
    found: dict[Path, Any] = {}
    names = argument_names(exercise)
    for number, arg in enumerate(case.args):
        found |= _leaves(arg, (names[number] if number < len(names) else f"argument {number + 1}",))
    return found


def _leaves(value: Any, path: Path) -> dict[Path, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
        inner = value
    else:
        return {path: value}
    found: dict[Path, Any] = {}
    for name, each in inner.items():
        found |= _leaves(each, (*path, name))
    return found


def equal(one: Any, other: Any) -> bool:
    """Whether two arguments are the same, as far as one can ask them."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return (
            isinstance(one, Tensor)
            and isinstance(other, Tensor)
            and (one.dtype, one.shape, one.device) == (other.dtype, other.shape, other.device)
            and torch.equal(one, other)
        )
    try:
        return one is other or bool(one == other)
    except (TypeError, ValueError, RuntimeError):
        return False
