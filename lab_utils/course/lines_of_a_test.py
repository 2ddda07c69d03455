"""What a reader sees in the lines of a test before it runs: an `assert` that always holds, or none at all."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType

ALWAYS_HOLDS = (
    "`assert (condition, text)` always holds: the two make a pair, and a pair is never false. "
    "Write it without the parentheses."
)
NO_ASSERT = "There is no `assert` in it, so it passes whatever the piece gives."
_COMPARE = {"allclose", "isclose", "equal", "array_equal"}


def look_at_lines(test: Callable, passes_always: bool) -> str:
    """What is wrong with the lines of a test, as a sentence; empty where nothing is, or they cannot be read.

    `passes_always`: it was seen to pass for every piece.
    """
    tree = _parse(test)
    if tree is None:
        return ""
    nodes = list(ast.walk(tree))
    asserts = [node for node in nodes if isinstance(node, ast.Assert)]
    if any(isinstance(node.test, ast.Tuple) and node.test.elts for node in asserts):
        return ALWAYS_HOLDS
    for node in nodes:
        if isinstance(node, ast.Expr) and _compares(node.value):
            line = ast.unparse(node.value)
            return f"This line compares, and nothing looks at what comes out: `{line[:80]}`. Write `assert` before it."
    if passes_always and not asserts and not any(_may_fail(node, test) for node in nodes):
        return NO_ASSERT
    return ""


def _parse(test: Callable) -> ast.FunctionDef | None:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(test))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return tree if isinstance(tree, ast.FunctionDef) else None


def _compares(value: ast.expr) -> bool:
    if isinstance(value, ast.Compare):
        return True
    return isinstance(value, ast.Call) and _name(value.func) in _COMPARE


def _may_fail(node: ast.AST, test: Callable) -> bool:
    """Whether a test may fail at this place without an `assert` of its own."""
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = _name(node.func)
    helper = getattr(test, "__globals__", {}).get(name)
    return "assert" in name.lower() or isinstance(helper, FunctionType)


def _name(function: ast.expr) -> str:
    """The last name of what is called: `allclose` of `torch.allclose`."""
    return getattr(function, "attr", getattr(function, "id", ""))
