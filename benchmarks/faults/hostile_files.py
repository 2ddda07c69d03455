"""The files that hostile notebooks are: cells that do harm, and what is no notebook at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RIGHT = """import torch
def causal_mask(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)"""
WRONG = "def attend(q, k, v, scale, visible=None):\n    return q"
PASSES, NOT_GRADED = ("passed",), ("not graded",)
_EXPECTS = {"passed": PASSES, "failed": ("failed",), "either": ("passed", "failed")}


@dataclass(frozen=True)
class Harm:
    """`write(folder, token)` makes the file to grade. Names of files that the harm leaves contain the token.

    expects: what the right answer beside the harm may count as.
    """

    name: str
    expects: tuple[str, ...]
    write: Callable[[Path, str], Path]


def make_notebook(*sources: Any, exercises: tuple[tuple[str, str], ...] = ()) -> str:
    """A notebook as text: cells, and then cells that answer exercises."""
    cells = [{"source": source, "metadata": {}} for source in sources]
    cells += [
        {"source": source, "metadata": {"tags": ["exercise"]}, "id": f"{name}-exercise"}
        for name, source in exercises
    ]
    whole = [{"cell_type": "code", "outputs": [], "execution_count": None, **cell} for cell in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": whole})


def read_cells(text: str) -> list[Harm]:
    """The harm that hostile_cells.txt describes."""
    return [
        _in_notebook(place, name, _EXPECTS[expects], source)
        for place, expects, name, source in re.findall(
            r"### (\w+) \| (\w+) \| (.*)\n((?:(?!### ).*\n)*)", text
        )
    ]


def _in_notebook(place: str, name: str, expects: tuple[str, ...], source: str) -> Harm:
    def write(folder: Path, token: str) -> Path:
        filled = source.strip().replace("TOKEN", token).replace("CANARY", str(folder / "canary.txt"))
        before, answer = ([], filled) if place == "answer" else ([filled], RIGHT)
        path = folder / "hostile.ipynb"
        text = make_notebook(*before, exercises=(("causal_mask", answer), ("attend", WRONG)))
        path.write_text(text, encoding="utf-8")
        return path

    return Harm(name, expects, write)


def _bytes(
    name: str,
    make: Callable[[Path], object],
    file: str = "hostile.ipynb",
    expects: tuple[str, ...] = NOT_GRADED,
) -> Harm:
    def write(folder: Path, token: str) -> Path:
        make(folder / file)
        return folder / file

    return Harm(name, expects, write)


def _write_large(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1_000_000_000)


def _write_strange(path: Path) -> None:
    text = make_notebook(exercises=(("causal_mask", RIGHT),))
    notebook = json.loads(text)
    notebook["metadata"] = {
        "kernelspec": {"name": "ir\x1b[2J", "language": "R"},
        "papermill": {"x": "y" * 10**6},
    }
    notebook["cells"].insert(0, {"cell_type": "markdown", "source": ["x"], "metadata": {}})
    path.write_text(json.dumps(notebook), encoding="utf-8")


BYTES = [
    _bytes("no JSON", lambda p: p.write_bytes(b"\xff\x00{")),
    _bytes("JSON of another kind", lambda p: p.write_text('[1, "\\u001b[2J"]')),
    _bytes("deeply nested", lambda p: p.write_text("[" * 10**6)),
    _bytes("1 GB", _write_large),
    _bytes("40 MB of brackets", lambda p: p.write_text("[" + "[]," * 13_000_000 + "[]]")),
    _bytes("another format", lambda p: p.write_text('{"nbformat": 3, "worksheets": []}')),
    _bytes("cells of no kind", lambda p: p.write_text('{"nbformat": 4, "cells": [1, null, {"cell_type": []}]}')),
    _bytes("sources that are no text", lambda p: p.write_text(make_notebook([1]))),
    _bytes("tags that are no list", lambda p: p.write_text(make_notebook(1).replace('{}', '{"tags": 5}'))),
    _bytes("a kernel of another language", _write_strange, expects=PASSES),
    _bytes("a name with escapes", lambda p: p.write_text("{"), "a\x1b]0;x\x07\u202eb\n.ipynb"),
    _bytes("a name that is no text", lambda p: p.write_text("{"), os.fsdecode(b"a\xff\x9b1m.ipynb")),
    _bytes("a link", lambda p: p.symlink_to("/etc/passwd")),
    _bytes("a link to itself", lambda p: p.symlink_to(p)),
    _bytes("a pipe", lambda p: os.mkfifo(p)),
    _bytes("a folder", lambda p: p.mkdir()),
    _bytes("a device", lambda p: p.symlink_to("/dev/zero")),
    _bytes("nothing", lambda p: None),
]  # fmt: skip

CASES = [*read_cells(Path(__file__).with_name("hostile_cells.txt").read_text(encoding="utf-8")), *BYTES]
