"""Small changes to a function's source, each a plausible slip: another constant, sign, comparison, a call left out."""

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

OPERATORS = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mod,),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}


def mutants(function: Callable) -> Iterator[tuple[str, Callable]]:
    """Every mutant of a function or class, with the line that it changed: "old line  ->  new line"."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    before = ast.unparse(tree).splitlines()
    seen = set()
    for number in range(sum(1 for _ in _sites(tree))):
        changed = copy.deepcopy(tree)
        node, change = next(site for i, site in enumerate(_sites(changed)) if i == number)
        change(node)
        after = ast.unparse(ast.fix_missing_locations(changed)).splitlines()
        text = "\n".join(after)
        if after == before or text in seen:
            continue
        seen.add(text)
        yield _difference(before, after), compile_source(text, function)


def compile_source(source: str, function: Callable, **more: Any) -> Any:
    # In the names of the core's own module, and with annotations unread: a changed default stays a default.
    names = vars(sys.modules[function.__module__]) | {"_unchanged": lambda x: x, **more}
    exec(
        compile("from __future__ import annotations\n" + source, f"<mutant of {function.__name__}>", "exec"),
        names,
    )
    return names[function.__name__]


def _difference(before: list[str], after: list[str]) -> str:
    """The first lines that differ, without their indentation."""
    old = [line.strip() for line in before if line not in after]
    new = [line.strip() for line in after if line not in before]
    return f"{' '.join(old)}  ->  {' '.join(new)}"


def _sites(tree: ast.AST) -> Iterator[tuple[ast.AST, Callable[[ast.AST], None]]]:
    """Every place that can be changed, and the change."""
    for node in code_of(tree):
        if isinstance(node, ast.Constant):
            yield from ((node, _set(value=value)) for value in _other_constants(node.value))
        elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
            yield from ((node, _set(op=op())) for op in OPERATORS.get(type(node.op), ()))
        elif isinstance(node, ast.Compare):
            yield from (
                (node, _set(ops=[op(), *node.ops[1:]])) for op in OPERATORS.get(type(node.ops[0]), ())
            )
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
            yield node, _drop_sign
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            if not isinstance(node.operand, ast.Constant) or isinstance(node.operand.value, float):
                yield node, _drop_sign
        elif isinstance(node, ast.IfExp):
            yield node, _swap("body", "orelse")
        elif isinstance(node, ast.If):
            yield node, lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        elif isinstance(node, ast.Call):
            yield from ((node, _without_keyword(i)) for i, k in enumerate(node.keywords) if k.arg)
            if len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
                yield node, _swap_arguments
            if isinstance(node.func, ast.Attribute) and not _names_a_module(node.func.value):
                yield node, _without_call
        elif isinstance(node, ast.Slice):
            yield from (
                (node, _set(**{end: None})) for end in ("lower", "upper") if getattr(node, end) is not None
            )


def code_of(node: ast.AST) -> Iterator[ast.AST]:
    """Everything but docstrings, annotations and the text of errors."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(node, ast.Raise | ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            yield child
            yield from code_of(child)


def _other_constants(value: Any) -> tuple:
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1) if value > 0 else (value + 1,)
    if isinstance(value, float):
        return (value * 1.5,)
    return ()


def _set(**fields: Any) -> Callable[[ast.AST], None]:
    return lambda node: [setattr(node, name, value) for name, value in fields.items()] and None


def _swap(one: str, other: str) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        first, second = getattr(node, one), getattr(node, other)
        setattr(node, one, second)
        setattr(node, other, first)

    return change


def _swap_arguments(node: ast.Call) -> None:
    node.args[0], node.args[1] = node.args[1], node.args[0]


def _without_keyword(i: int) -> Callable[[ast.Call], None]:
    return lambda node: node.keywords.pop(i) and None


def _drop_sign(node: ast.UnaryOp) -> None:
    node.__class__ = ast.Call
    node.func, node.args, node.keywords = ast.Name("_unchanged", ast.Load()), [node.operand], []


def _without_call(node: ast.Call) -> None:
    """x.f(...) becomes x."""
    inner = node.func.value
    node.func, node.args, node.keywords = ast.Name("_unchanged", ast.Load()), [inner], []


def _names_a_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("torch", "F", "math", "nn", "self", "super")
