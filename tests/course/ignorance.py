"""Answers that leave something out, made from the core by machine: an argument, a field, a gradient, large numbers.

A class is changed in the methods that its stub in the notebook has.
"""

import ast
import copy
import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab_utils.course.exercise import Exercise
from lab_utils.course.usual_state import usual_state
from tests.course.other_formats import run_and, ways_to_miss_a_format

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
Arguments = dict[str, Any]
Answer = Callable
Way = tuple[
    str, Callable[[], Answer]
]  # what is left out, and how to make an answer that does so: a new one each time


def ways_to_ignore(exercise: Exercise) -> Iterator[Way]:
    """Everything that an answer could leave out, judging by the calls that its cases make."""
    stub = stub_of(exercise)
    for method, calls in _calls_of_the_core(exercise, stub).items():
        by_name = {name: [call[name] for call in calls if name in call] for name in calls[0]}
        for name, values in by_name.items():
            if method and name == "self":
                modules = [value for value in values if isinstance(value, nn.Module)]
            else:
                modules = [value for value in values if isinstance(value, nn.Module)]
                yield from _ignore_argument(exercise, method, name, values, stub)
            for parameter in dict.fromkeys(n for m in modules for n, _ in m.named_parameters()):
                if method != "__init__":
                    where = parameter if name == "self" else f"{name}.{parameter}"
                    change = functools.partial(_run_with_frozen, name, parameter)
                    yield f"no gradient for {where}", functools.partial(_changed, exercise, method, change)
        if method != "__init__":
            yield "torch.no_grad()", functools.partial(_changed, exercise, method, _run_without_gradients)
            for dtype in (torch.int8, torch.uint8, torch.int16) if calls.results_have_whole_numbers else ():
                change = functools.partial(run_and, functools.partial(_with_few_bits, dtype=dtype))
                yield f"{dtype} for whole numbers", functools.partial(_changed, exercise, method, change)
            if re.search("dtype|precision|bfloat16|float32|float64", stub):
                for says, change in ways_to_miss_a_format(function_of(exercise, method), calls):
                    yield says, functools.partial(_changed, exercise, method, change)


def stub_of(exercise: Exercise) -> str:
    """The source of the exercise's cell."""
    for path in NOTEBOOKS.glob(f"{exercise.notebook}_*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["id"] == f"{exercise.name}-exercise":
                return "".join(cell["source"])
    raise AssertionError(f"no stub of {exercise.name}")


# ---------------------------------------------------------------- the calls that the cases make


def _is_to_be_written(method: ast.FunctionDef) -> bool:
    """Whether it raises NotImplementedError, or has no body but a docstring."""
    last = method.body[-1]
    return isinstance(last, ast.Raise) or (
        isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant)
    )


def _methods(stub: str) -> list[str]:
    """The methods of a class that make it or that are to be written, where they have arguments; of a function one empty
    name.
    """
    (defined,) = (n for n in ast.parse(stub).body if isinstance(n, ast.ClassDef | ast.FunctionDef))
    if isinstance(defined, ast.FunctionDef):
        return [""]
    return [
        n.name
        for n in defined.body
        if isinstance(n, ast.FunctionDef)
        and (n.name == "__init__" or _is_to_be_written(n))
        and len(n.args.args) + bool(n.args.vararg) > 1
    ]


class Calls(list[Arguments]):
    """The arguments of every call, and whether a result holds tensors or arrays of whole numbers."""

    results_have_whole_numbers = False


def _calls_of_the_core(exercise: Exercise, stub: str) -> dict[str, Calls]:
    """The arguments of every call, by method: what the core gets in the cases."""
    calls = {method: Calls() for method in _methods(stub)}

    def record(method: str, function: Callable, arguments: inspect.BoundArguments) -> Any:
        calls[method].append(dict(arguments.arguments))
        result = function(*arguments.args, **arguments.kwargs)
        calls[method].results_have_whole_numbers |= any(map(_is_whole, _leaves(result)))
        return result

    changes = {method: functools.partial(record, method) for method in calls}
    with usual_state():
        for case in exercise.cases():
            if case.judged:
                exercise.observe(_with_changes(exercise.core, changes), *case.fresh_args())
    return {method: found for method, found in calls.items() if found}


def _with_changes(core: Callable, changes: dict[str, Callable]) -> Answer:
    """The core, each of whose methods is called by `change(method, bound arguments)`."""
    if "" in changes:
        return _wrap(core, changes[""])
    assert isinstance(core, type)
    return type(core.__name__, (core,), {name: _wrap(getattr(core, name), c) for name, c in changes.items()})


def _wrap(function: Callable, change: Callable) -> Callable:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return change(function, bound)

    return wrapped


def function_of(exercise: Exercise, method: str) -> Callable:
    return getattr(exercise.core, method) if method else exercise.core


def _changed(exercise: Exercise, method: str, change: Callable) -> Answer:
    return _with_changes(exercise.core, {method: change})


# ---------------------------------------------------------------- what is left out


def _ignore_argument(
    exercise: Exercise, method: str, name: str, values: list[Any], stub: str
) -> Iterator[Way]:
    """Ways to leave out one argument, and each of its fields that the stub names."""
    function = function_of(exercise, method)
    default = inspect.signature(function).parameters[name].default
    for path in [(), *dict.fromkeys(path for value in values for path in _named_fields(value, stub))]:
        found = [_read(value, path) for value in values]
        text = ".".join((name, *path))
        if path:
            holder = next(h for v in values if (h := _read(v, path[:-1])) is not None)
            default = _default_of_field(holder, path[-1])
        stand_ins = {"the first one": _First}
        if default is not inspect.Parameter.empty:
            stand_ins["its default"] = functools.partial(_Always, default)
        if any(isinstance(value, Tensor) and value.requires_grad for value in found) or any(
            _is_float(value) for value in found
        ):
            stand_ins["detached"] = _Detached
        for says, stand_in in stand_ins.items():
            yield (
                f"{text}: {says}",
                lambda stand_in=stand_in, path=path: _changed(
                    exercise, method, functools.partial(_run_with, name, path, stand_in())
                ),
            )


def _named_fields(value: Any, stub: str) -> Iterator[tuple[str, ...]]:
    """The fields of a configuration or a named tuple, at any depth, whose names stand in the stub."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        names = list(getattr(value, "_fields", ()))
    for name in names:
        if re.search(rf"\b{name}\b", stub):
            yield (name,)
            yield from ((name, *deeper) for deeper in _named_fields(getattr(value, name), stub))


def _read(value: Any, path: tuple[str, ...]) -> Any:
    """The field, or None where there is no such field."""
    for name in path:
        value = getattr(value, name, None)
    return value


def _default_of_field(holder: Any, name: str) -> Any:
    for field in dataclasses.fields(holder) if dataclasses.is_dataclass(holder) else ():
        if field.name == name and field.default is not dataclasses.MISSING:
            return field.default
    return inspect.Parameter.empty


def _replace(value: Any, path: tuple[str, ...], stand_in: Callable) -> Any:
    """A copy with another field; a configuration does not check the new one."""
    if not path:
        return stand_in(value)
    if not hasattr(value, path[0]):
        return value
    new = _replace(getattr(value, path[0]), path[1:], stand_in)
    if hasattr(value, "_replace"):
        return value._replace(**{path[0]: new})
    copied = copy.copy(value)
    object.__setattr__(copied, path[0], new)
    return copied


class _Always:
    def __init__(self, value: Any):
        self.value = value

    def __call__(self, value: Any) -> Any:
        return self.value


class _First:
    """The value of the first call ever after; for tensors, whose shapes change, ones, and zeros for whole numbers."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            numbers = value.dtype.is_floating_point or value.dtype.is_complex
            return torch.ones_like(value) if numbers else torch.zeros_like(value)
        if not self.seen:
            self.seen.append(value)
        return self.seen[0]


class _Detached:
    def __call__(self, value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def _run_with(
    name: str, path: tuple[str, ...], stand_in: Callable, function: Callable, bound: inspect.BoundArguments
) -> Any:
    bound.arguments[name] = _replace(bound.arguments[name], path, stand_in)
    return function(*bound.args, **bound.kwargs)


def _run_with_frozen(name: str, parameter: str, function: Callable, bound: inspect.BoundArguments) -> Any:
    frozen = dict(bound.arguments[name].named_parameters()).get(parameter)
    if frozen is None:
        return function(*bound.args, **bound.kwargs)
    frozen.requires_grad_(False)
    try:
        return function(*bound.args, **bound.kwargs)
    finally:
        frozen.requires_grad_(True)


def _run_without_gradients(function: Callable, bound: inspect.BoundArguments) -> Any:
    with torch.no_grad():
        return function(*bound.args, **bound.kwargs)


def _with_few_bits(value: Any, dtype: torch.dtype) -> Any:
    if not _is_whole(value):
        return value
    return value.to(dtype) if isinstance(value, Tensor) else value.astype(str(dtype).removeprefix("torch."))


def _leaves(value: Any) -> list[Any]:
    return [leaf for each in value for leaf in _leaves(each)] if isinstance(value, tuple) else [value]


def _is_whole(value: Any) -> bool:
    """Whether it is a tensor or an array of whole numbers."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iu"
    wider = value.dtype.is_floating_point or value.dtype.is_complex if isinstance(value, Tensor) else True
    return not wider and value.dtype != torch.bool
