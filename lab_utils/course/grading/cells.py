"""The code cells of a learner's notebook, and what each defines, hands over or checks: read from the text alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from lab_utils.course.grading.names import stubs

PARTS = ("derivation", "exercise", "check", "handover")
WORK, STUB, CORE = "work", "stub", "core"  # what a statement binds an exercise's name to


@dataclass(frozen=True)
class Bound:
    """A statement that binds an exercise's name: to work, to an untouched stub, or to the lab's own."""

    name: str
    kind: str
    first: int  # its lines, from 1
    last: int


@dataclass(frozen=True)
class Cell:
    """A cell that holds code or should. `source` is plain Python, with IPython's magics turned into calls.

    `kind` is "code", or that of a cell which does not run: "markdown", "raw".
    """

    source: str
    identity: str = ""
    kind: str = "code"
    broken: bool = False  # no Python that can be parsed
    bound: tuple[Bound, ...] = ()
    checks: frozenset[str] = frozenset()
    only_checks: bool = False  # nothing but calls of `check`, which `grade` needs not

    @property
    def named(self) -> str:
        """The exercise that the cell's id names, or nothing."""
        name, _, part = self.identity.rpartition("-")
        return name if part in PARTS else ""


class NotANotebook(ValueError):
    """What is read is no notebook that can be graded. The message completes the sentence "It is ..."."""


def read_cells(notebook: Any, names: Collection[str]) -> list[Cell]:
    """The cells of a notebook (nbformat 4) in which one of these exercises could stand.

    Raises `NotANotebook`. What a front end may do to a cell, such as to lose its tags and ids, does no harm.
    """
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        if isinstance(notebook, dict) and "worksheets" in notebook:
            raise NotANotebook("a notebook of an old format: open it in JupyterLab and save it")
        raise NotANotebook("not a notebook")
    if notebook.get("nbformat") != 4:
        raise NotANotebook("not a notebook of nbformat 4")
    raw = [(_text(each), each) for each in notebook["cells"] if isinstance(each, dict)]
    found: list[Cell] = []
    last_code = ""
    for source, each in raw:
        kind, identity = str(each.get("cell_type")), str(each.get("id", ""))
        if kind != "code":
            # Prose names functions too: only what stands where an exercise should, or begins like its code, counts.
            if identity.endswith("-exercise") or re.match(
                r"\s*(?:```\w*\s+)?(?:async def|def|class)\s", source
            ):
                found.append(read_cell(source.replace("```", "\n#"), names, identity, kind))
        elif (whole := _joined(last_code, source, names)) and found and found[-1].kind == "code":
            found[-1] = read_cell(whole, names, found[-1].identity)
            last_code = whole
        else:
            found.append(read_cell(source, names, identity))
            last_code = source
    return found


def read_cell(source: str, names: Collection[str], identity: str = "", kind: str = "code") -> Cell:
    """One cell: what it defines of these exercises."""
    plain = _without_magics(source)
    tree = _parse(plain)
    if tree is None:
        # What it would define is still seen, so that the error of the cell is told for it.
        begun = re.findall(r"^(?:async +)?(?:def|class) +(\w+)", source, re.M)
        bound = tuple(Bound(name, WORK, 1, 1) for name in dict.fromkeys(begun) if name in names)
        return Cell(source, identity, kind, True, bound)
    handed_over = identity.endswith("-handover")
    bound = tuple(
        Bound(
            name,
            CORE if handed_over and what == WORK and _is_alias(node) else what,
            first,
            node.end_lineno or first,
        )
        for node in _statements(tree.body)
        for name, what in _binds(node)
        if name in names
        for first in [min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])]
    )
    calls = [
        node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    checks = [
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "check" and call.args
    ]
    return Cell(
        plain, identity, kind, False, bound,
        frozenset(name for call in checks for name in [_name_of(call.args[0])] if name in names),
        bool(checks) and len(checks) == len(tree.body),
    )  # fmt: skip


def defined_in(source: str) -> list[str]:
    """The functions and classes that a cell defines, whatever their names."""
    tree = _parse(_without_magics(source))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in _statements(tree.body) if isinstance(node, kinds)] if tree else []


def _text(cell: dict) -> str:
    source = cell.get("source", "")
    if isinstance(source, list):
        return "".join(part for part in source if isinstance(part, str))
    return source if isinstance(source, str) else ""


def _joined(before: str, after: str, names: Collection[str]) -> str:
    """Both cells as one, where a front end has split a function in two: the second begins with indented lines."""
    first = next((line for line in after.splitlines() if line.strip()), "")
    if not before or not first[:1].isspace() or not any(name in before for name in names):
        return ""
    whole = before.rstrip() + "\n" + after
    return whole if _parse(_without_magics(whole)) is not None else ""


def _without_magics(source: str) -> str:
    """The source as a kernel would run it: its magics are calls. What cannot be transformed stays.

    What stands under a magic of a whole cell that only watches it (`%%time`) is read as it stands.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    source = re.sub(r"\A(\s*)%%(time|capture|prun)\b", r"\1# \2", source)
    try:
        return TransformerManager().transform_cell(source)
    except (SyntaxError, ValueError, RecursionError):
        return source


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the cell does, those in `if`, `with`, `try` and loops too."""
    for node in body:
        yield node
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for part in getattr(node, inner, []):
                    inside = part.body if isinstance(part, ast.ExceptHandler | ast.match_case) else [part]
                    yield from _statements(inside)


def _binds(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a statement binds, each with what it binds it to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, STUB if _is_stub(node) else WORK
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        if node.value is None:
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            yield from ((each.id, WORK) for each in ast.walk(target) if isinstance(each, ast.Name))
        yield from ((name, WORK) for name in _stored(node.value))
    elif isinstance(node, ast.ImportFrom | ast.Import):
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "nanokimi",
            "lab_utils",
        )
        for alias in node.names:
            yield (alias.asname or alias.name), CORE if ours else WORK
    else:
        parts = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr | ast.withitem)]
        yield from ((name, WORK) for part in parts for name in _stored(part))


def _stored(node: ast.AST) -> Iterator[str]:
    """The names that an expression binds in its cell, by `:=` too; those of a lambda or a comprehension are its own."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    if not isinstance(node, ast.Lambda):
        own = node.target if isinstance(node, ast.comprehension) else None
        yield from (name for part in ast.iter_child_nodes(node) if part is not own for name in _stored(part))


def _is_alias(node: ast.stmt) -> bool:
    """`compress = BlockLatentAttention.compress`: another name for what is there."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute | ast.Name)


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether nothing was written: the function raises NotImplementedError and does nothing else.

    A class is one where some of its functions are, and all its code is that which the course hands out.
    """
    if isinstance(node, ast.ClassDef):
        given = _handed_out().get(node.name)
        return given is not None and ast.dump(_bare(node)) == given
    body = [each for each in node.body if not isinstance(each, ast.Pass) and not _is_constant(each)]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.dump(body[0])


def _is_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bare(node: ast.ClassDef) -> ast.ClassDef:
    """The class without texts that say what it is, which a learner may have changed."""
    for each in ast.walk(node):
        if isinstance(each, ast.ClassDef | ast.FunctionDef):
            each.body = [s for s in each.body if not _is_constant(s)] or [ast.Pass()]
    return node


def _handed_out() -> dict[str, str]:
    """The classes among the course's stubs, as trees without their texts."""

    found = {}
    for name, source in stubs().items():
        tree = _parse(source)
        for node in tree.body if tree else ():
            if isinstance(node, ast.ClassDef) and node.name == name:
                found[name] = ast.dump(_bare(node))
    return found
