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
NO_ASSERT = "There is no `assert` in it, so no number that a piece gives makes it fail."
SWALLOWED = (
    "Its `assert` stands in a `try` whose `except` raises nothing: an `assert` that does not hold is caught there, and "
    "the test passes. Write it without the `try`."
)
NEVER_RUNS = (
    "It never runs the piece that it gets, so what it says comes from something else: a name, the order, a function of "
    "the notebook. Call the piece, and look at what it gives."
)
THE_CAUSE = (NO_ASSERT, SWALLOWED, NEVER_RUNS)
_LABELS = {"__name__", "__qualname__", "__module__", "__doc__", "__code__"}
_NOT_OWN = {"nanokimi", "torch"}  # these compute, and check nothing
_CATCH = {"AssertionError", "Exception", "BaseException"}
_COMPARE = {"allclose", "isclose", "equal", "array_equal"}


def look_at_lines(test: Callable, passes_always: bool) -> str:
    """What is wrong with the lines of a test, as a sentence; empty where nothing is, or they cannot be read.

    `passes_always`: it was seen to refuse no piece.
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
    if passes_always and asserts and _caught(tree) >= set(asserts):
        return SWALLOWED
    if label := _find_label(nodes, test):
        return (
            f"`{label[:80]}` is the same for every piece, or says nothing of it. Look at what a piece gives."
        )
    return ""


def _find_label(nodes: list[ast.AST], test: Callable) -> str:
    """The place where a test asks what its piece is called or made of; empty where it does not."""
    pieces = inspect.signature(test).parameters
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in _LABELS and _name(node.value) in pieces:
            return ast.unparse(node)
        if isinstance(node, ast.Call) and node.args and _name(node.args[0]) in pieces:
            called = ast.unparse(node.func)
            names = [getattr(each, "value", "") for each in node.args[1:2]]
            if called in ("repr", "id", "hash") or called.startswith("inspect.") or _LABELS & {*names}:
                return ast.unparse(node)
    return ""


def _caught(tree: ast.FunctionDef) -> set[ast.Assert]:
    """Every `assert` of which nothing is heard when it does not hold."""
    found: set[ast.Assert] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try):
            continue
        caught_by = next((each for each in node.handlers if _catches(each)), None)
        if caught_by and not any(_raises(each) for line in caught_by.body for each in ast.walk(line)):
            found |= {each for line in node.body for each in ast.walk(line) if isinstance(each, ast.Assert)}
    return found


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or _name(kind) in _CATCH for kind in kinds)


def _raises(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise | ast.Assert)


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
    if name in inspect.signature(test).parameters:  # the piece, whatever else has its name
        return False
    helper = getattr(test, "__globals__", {}).get(name)
    is_own = isinstance(helper, FunctionType) and (helper.__module__ or "").split(".")[0] not in _NOT_OWN
    return "assert" in name.lower() or is_own


def _name(function: ast.expr) -> str:
    """The last name of what is called: `allclose` of `torch.allclose`."""
    return getattr(function, "attr", getattr(function, "id", ""))
