"""The input of a case, in a few lines: what the exercise's function is called with, by the names of its arguments."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import textwrap
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lab_utils.course.calls import Watch
from lab_utils.course.exercise import Case, Exercise
from lab_utils.course.usual_state import usual_state
from lab_utils.course.written import LONGEST, write_whole
from lab_utils.show.words import kind_of, plural

Arguments = dict[str, list[str]]  # the lines of each, by its name

MOST_LINES = 36  # more calls are counted
MOST_OF_ONE = 3  # of one argument
FEW = 6  # of a longer tensor, or of a list


def describe_input(exercise: Exercise, case: Case) -> str:
    """What the core is called with for a case, one argument after the other. Nothing is told of a bug hunt's pieces."""
    if exercise.is_hunt:
        return ""
    calls: list[tuple[str, Any, list[str]]] = []  # the method, the object, the lines
    latest: dict[str, Arguments] = {}

    def note(method: str, made: Any, given: dict[str, Any]) -> None:
        # Said once: what is the same as in the call before.
        arguments = _describe_arguments(given | _gradients(made, method) | _own_weight(made, method))
        arguments |= _left_to_defaults(exercise, method, latest.get(method, {}), given)
        new = {n: lines for n, lines in arguments.items() if latest.get(method, {}).get(n) != lines}
        is_new = bool(new) or method == "__init__"
        if method and len(new) < len(arguments):
            before = ", ".join(n for n in arguments if n not in new)
            new[""] = [f"{before} as before"]
        latest[method] = arguments
        if is_new:
            title = {"__init__": exercise.name}.get(method, method)
            calls.append((method, made, _describe_call(title, new)))

    with usual_state():
        exercise.observe(Watch(note).of(exercise.core), *case.fresh_args())
    described = _join_numbers(_name_objects(calls))
    lines: list[str] = []
    for number, call in enumerate(described[:-1]):
        if lines and len(lines) + len(call) > MOST_LINES:
            left_out = len(described) - 1 - number
            lines.append(f"... and {plural(left_out, 'more call')}, where the difference may lie, then")
            break
        lines += call
    return "\n".join([*lines, *described[-1]]) if described else ""


def _left_to_defaults(exercise: Exercise, method: str, before: Arguments, given: dict[str, Any]) -> Arguments:
    """The lines of arguments that the call before had and this one leaves out."""
    called = getattr(exercise.core, method) if method else exercise.core
    defaults = {name: each.default for name, each in inspect.signature(called).parameters.items()}
    left = [name for name in defaults if name in before and name not in given]
    return {name: [f"{name} = {_write(defaults[name])}, by default"] for name in left}


def _name_objects(calls: list[tuple[str, Any, list[str]]]) -> list[list[str]]:
    """The lines of each call, with a letter for each object where several are used."""
    works = [made for method, made, _ in calls if method not in ("", "__init__")]
    used: list[Any] = []
    for _, made, _ in calls:
        if any(made is each for each in works) and not any(made is each for each in used):
            used.append(made)
    named: list[list[str]] = []
    for method, made, (first, *rest) in calls:
        letter = next((chr(ord("a") + i) for i, each in enumerate(used) if each is made), "")
        if method == "__init__":
            if "as before" in first and (not letter or len(used) == 1):
                continue  # built once more, to look at it
            joint = " = "
        else:
            joint = "."
        named.append([f"{letter}{joint}{first}" if letter and len(used) > 1 else first, *rest])
    return named


def _join_numbers(calls: list[list[str]]) -> list[list[str]]:
    """The calls, those after each other that differ in one number alone in one line: `step = 1, 2, 3, ..., 14`."""

    def what(call: list[str]) -> str:
        found = re.fullmatch(r"(\w+) = [-+.\w]+", call[0]) if len(call) == 1 else None
        return found[1] if found else ""

    joined: list[list[str]] = []
    for name, same in itertools.groupby(calls, what):
        group = list(same)
        if not name or len(group) == 1:
            joined += group
            continue
        values = [line.removeprefix(f"{name} = ") for (line,) in group]
        few = values if len(values) <= FEW else [*values[: FEW - 2], "...", values[-1]]
        joined.append([f"{name} = {', '.join(few)}, one after the other"])
    return joined


def entries(value: Any) -> int:
    """How many numbers an input holds: the smallest input that shows a fault teaches most."""
    if isinstance(value, Tensor | np.ndarray):
        return int(np.prod(value.shape))
    if isinstance(value, nn.Module):
        return sum(p.numel() for p in value.parameters())
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return entries(list(value.values()))
    if isinstance(value, list | tuple):
        return sum(map(entries, value))
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, each.name) for each in dataclasses.fields(value)]
        return 1 + entries([each for each in fields if isinstance(each, np.ndarray)])
    return 1


def by_size(args: Any) -> tuple[bool, int]:
    """What inputs are sorted by, the one that teaches most first: small ones, but those without a number last."""
    return _has_empty(args), entries(args)


def _has_empty(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 0
    return isinstance(value, list | tuple) and (not value or any(map(_has_empty, value)))


def _gradients(made: Any, method: str) -> dict[str, Any]:
    """What a step of an optimizer reads, besides its arguments."""
    if method != "step" or not isinstance(made, torch.optim.Optimizer):
        return {}
    held = [p for group in made.param_groups for p in group["params"]]
    return {f"gradient of parameter {i}": p.grad for i, p in enumerate(held, 1)}


def _own_weight(made: Any, method: str) -> dict[str, Any]:
    """The weight of a module that has one alone. The check sets it: without it nobody can tell the result."""
    if method != "forward" or not isinstance(made, nn.Module):
        return {}
    weights = dict(made.named_parameters())
    return {f"self.{name}": each for name, each in weights.items()} if len(weights) == 1 else {}


def _describe_call(title: str, arguments: Arguments) -> list[str]:
    """The lines of one call: in one line where it fits, below its title where it does not."""
    lines = [line for each in arguments.values() for line in each]
    if not title:
        return lines
    short = f"{title}({', '.join(lines)})"
    if len(short) <= LONGEST and all(len(each) == 1 for each in arguments.values()):
        return [short]
    return [f"{title}:", *(f"  {line}" for line in lines)]


def _describe_arguments(given: dict[str, Any]) -> Arguments:
    """The lines of each argument: `x, shape (2, 2)` and its numbers below, or `scale = 0.5`."""
    found: Arguments = {}
    for name, value in given.items():
        if isinstance(value, tuple) and value and all(map(_is_report, value)):
            found |= {f"{name}[{i}]": _describe_report(f"{name}[{i}]", each) for i, each in enumerate(value)}
        elif isinstance(value, tuple) and any(isinstance(each, Tensor | tuple) for each in value):
            names = getattr(value, "_fields", None)
            inside = {f"{name}.{names[i]}" if names else f"{name}[{i}]": v for i, v in enumerate(value)}
            found |= _describe_arguments(inside)
        else:
            found[name] = _describe_argument(name, value)
    return found


def _is_report(value: Any) -> bool:
    """Whether it is what a layer reports: tensors with names."""
    return (
        isinstance(value, tuple)
        and hasattr(value, "_fields")
        and all(isinstance(each, Tensor) for each in value)
    )


def _describe_report(name: str, value: Any) -> list[str]:
    """What one of several layers reports, without its numbers: nobody reads all of them."""
    shapes = ", ".join(f"{field} {tuple(each.shape)}" for field, each in zip(value._fields, value))
    return textwrap.wrap(f"{name} = {type(value).__name__} of {shapes}", LONGEST, subsequent_indent="    ")


def _describe_argument(name: str, value: Any) -> list[str]:
    is_here = isinstance(value, Tensor) and value.device.type != "meta" and value.numel() > 1
    if is_here and (rows := write_whole(value)):
        short = f"{name}, {_shape(value)}: {rows[0]}"
        if len(rows) == 1 and len(short) <= LONGEST:
            return [short]
        return [f"{name}, {_shape(value)}", *(f"  {row}" for row in rows)]
    written = _write(value)
    if isinstance(value, Tensor | np.ndarray):
        return [f"{name}, {written}"]
    many = len(textwrap.wrap(f"{name} = {written}", LONGEST, subsequent_indent="    ")) > MOST_OF_ONE
    if many and (dataclasses.is_dataclass(value) or isinstance(value, nn.Module)):
        # All settings, and of those that hold others the name alone: no line ends in the middle of one.
        written = re.sub(r"(?<=\w=)(\w+)\([^()]*\)", r"\1(...)", written)
    return textwrap.wrap(f"{name} = {written}", LONGEST, subsequent_indent="    ", max_lines=MOST_OF_ONE) or [
        name
    ]


def _write(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Tensor):
        return _write_tensor(value)
    if isinstance(value, np.ndarray):
        return _list(value.tolist() if value.ndim == 1 else value.flatten().tolist())
    if isinstance(value, nn.Module):
        return _write_module(value)
    if isinstance(value, dict):
        return "{" + _row([f"{key!r}: {_write(each)}" for key, each in value.items()]) + "}"
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        pairs = zip(names, value)
        return f"{type(value).__name__}({_row([f'{name}={_write(each)}' for name, each in pairs])})"
    if isinstance(value, list | tuple):
        return _list(value)
    if dataclasses.is_dataclass(value):
        return _write_settings(value)
    if hasattr(value, "n_vocab") and hasattr(value, "decode"):
        tokens = [value.decode([i]) for i in range(min(value.n_vocab, FEW))]
        return f"{kind_of(value)} of {plural(value.n_vocab, 'token')}: {_row(list(map(repr, tokens)), value.n_vocab)}"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[:LONGEST] + " ...")
    if value is None or isinstance(value, bool | int | float | torch.dtype | torch.device):
        return str(value)
    return kind_of(value)


def _list(values: Any) -> str:
    left, right = "()" if isinstance(values, tuple) else "[]"
    return left + _row([_write(each) for each in values[:FEW]], len(values)) + right


def _write_tensor(value: Tensor) -> str:
    if value.device.type == "meta":
        return f"{_shape(value)}, on the device meta"
    if value.ndim == 0:
        return f"one number: {_number(value.item())}"
    if not value.numel():
        return f"{_shape(value)}, empty"
    numbers = [_number(each.item()) for each in value.detach().flatten()[:FEW]]
    return f"{_shape(value)}: {_row(numbers, value.numel())}"


def _write_module(module: nn.Module) -> str:
    """Its class, and its configuration or the shapes of its weights."""
    settings = getattr(module, "cfg", None)
    if dataclasses.is_dataclass(settings):
        return f"{kind_of(module)} of {_write_settings(settings)}"
    shapes = [f"{name} {tuple(p.shape)}" for name, p in module.named_parameters()]
    return f"{kind_of(module)}, {_row(shapes[:FEW], len(shapes))}"


def _write_settings(settings: Any) -> str:
    """A configuration with the fields that differ from what they are by default."""
    shown = []
    for each in dataclasses.fields(settings):
        value, usual = getattr(settings, each.name), each.default
        if each.default_factory is not dataclasses.MISSING:
            usual = each.default_factory()
        if isinstance(value, Tensor | np.ndarray) or value != usual:
            shown.append(f"{each.name}={_write(value)}")
    return f"{type(settings).__name__}({', '.join(shown)})"


def _row(texts: list[str], n: int = 0) -> str:
    """Texts in a row; `n` is how many there are in all."""
    return ", ".join(texts[:FEW]) + (", ..." if max(n, len(texts)) > FEW else "")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | complex) else str(value)


def _shape(tensor: Tensor) -> str:
    """Its shape, and its number format where that is an unusual one."""
    usual = tensor.dtype in (torch.float32, torch.int64, torch.bool)
    return f"shape {tuple(tensor.shape)}" + ("" if usual else f", {str(tensor.dtype).removeprefix('torch.')}")
