"""The core's functions with one value bent: alike on most inputs, another at a corner that random numbers miss.

The absolute value, the whole part, nothing below zero, nothing above one: each is a slip that learners make.
"""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from tests.course.mutants import code_of, compile_source


def _for_numbers(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`change` for numbers and for tensors of them; every other value stays as it is."""

    def bend(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_tensor = type(value) is Tensor and value.dtype != torch.bool and not value.is_complex()
        return change(value) if is_number or is_tensor else value

    return bend


def _whole(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return int(value)
    return value.trunc() if value.is_floating_point() else value


BENDS = {
    "_absolute": _for_numbers(abs),
    "_whole": _for_numbers(_whole),
    "_not_below_zero": _for_numbers(lambda v: v.clamp(min=0) if isinstance(v, Tensor) else max(v, 0)),
    "_not_above_one": _for_numbers(lambda v: v.clamp(max=1) if isinstance(v, Tensor) else min(v, 1)),
}


def bent(function: Callable) -> Iterator[tuple[str, Callable]]:
    """The function or class with one value bent, for every value in it and every way, with the line that changed."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    for number in range(len(_values(tree))):
        for name in BENDS:
            changed = copy.deepcopy(tree)
            parent, field, index = _values(changed)[number]
            old = getattr(parent, field) if index is None else getattr(parent, field)[index]
            new = ast.Call(ast.Name(name, ast.Load()), [old], [])
            where = f"{name}({ast.unparse(old)})"
            if index is None:
                setattr(parent, field, new)
            else:
                getattr(parent, field)[index] = new
            source = ast.unparse(ast.fix_missing_locations(changed))
            yield f"{number}: {where}", compile_source(source, function, **BENDS)


def _values(tree: ast.AST) -> list[tuple[ast.AST, str, int | None]]:
    """The places of the expressions that may be numbers: operations, calls, entries. Callees are none."""
    found: list[tuple[ast.AST, str, int | None]] = []
    for parent in code_of(tree):
        if isinstance(parent, ast.Raise | ast.JoinedStr):
            continue
        for field, value in ast.iter_fields(parent):
            if field in (
                "func",
                "annotation",
                "returns",
                "decorator_list",
                "targets",
                "target",
                "slice",
                "bases",
            ):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.BinOp | ast.Call | ast.Subscript | ast.UnaryOp):
                    found.append((parent, field, index))
    return found
