"""Answers whose results have another number format than the core's, made by machine."""

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Change = Callable[[Callable, inspect.BoundArguments], Any]  # runs a function in another way


def ways_to_miss_a_format(function: Callable, calls: list[dict[str, Any]]) -> Iterator[tuple[str, Change]]:
    """What is missed, and how: formats that are fixed, and those that a careless answer gives for bfloat16.

    Whether the core keeps bfloat16 or gives float32 for it shows when it is asked, whether a case asks for it or not.
    """
    yield "float32 whatever comes", functools.partial(run_and, _in_float32)
    given = {part.dtype for part in _floats(_ask_in_bfloat16(function, calls[0]))}
    if torch.bfloat16 in given:
        yield "float32 for bfloat16", functools.partial(_run_for_bfloat16, torch.float32)
    if torch.float32 in given:
        yield "bfloat16 for bfloat16", functools.partial(_run_for_bfloat16, torch.bfloat16)


def run_and(change: Callable[[Any], Any], function: Callable, bound: inspect.BoundArguments) -> Any:
    """What the function returns, with every part changed."""
    return _convert(function(*bound.args, **bound.kwargs), change)


def _ask_in_bfloat16(function: Callable, call: dict[str, Any]) -> Any:
    """What it gives where all numbers are in bfloat16; None where it refuses them."""
    bound = inspect.signature(function).bind(**{name: _in_bfloat16(arg) for name, arg in call.items()})
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            return function(*bound.args, **bound.kwargs)
    except (RuntimeError, TypeError, ValueError):
        return None


def _in_bfloat16(arg: Any) -> Any:
    if isinstance(arg, nn.Module):
        return copy.deepcopy(arg).bfloat16()
    return arg.detach().bfloat16() if _is_float(arg) else arg


def _run_for_bfloat16(dtype: torch.dtype, function: Callable, bound: inspect.BoundArguments) -> Any:
    asked = any(_is_float(arg) and arg.dtype == torch.bfloat16 for arg in bound.arguments.values())
    return run_and(lambda part: part.to(dtype) if asked and _is_float(part) else part, function, bound)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


def _floats(value: Any) -> list[Tensor]:
    if isinstance(value, tuple):
        return [part for each in value for part in _floats(each)]
    return [value] if _is_float(value) else []


def _in_float32(value: Any) -> Any:
    return value.float() if _is_float(value) else value


def _convert(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with every part of a tuple changed."""
    if hasattr(value, "_fields"):
        return type(value)(*(_convert(each, change) for each in value))
    if isinstance(value, tuple):
        return tuple(_convert(each, change) for each in value)
    return change(value)
