"""Notebooks as a reader leaves them: those of the course with answers in their exercise cells, or a few cells alone."""

import ast
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.hints import source_of
from lab_utils.course.progress import COURSE

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TO_BUILD = [name for name, exercise in all_exercises().items() if not exercise.is_hunt]

# Not as the core writes them; with helpers, constants and imports of their own.
IN_ANOTHER_STYLE = {
    "attend": """
def attend(q, k, v, scale, visible=None):
    logits = scale * torch.einsum("bhqd,bhkd->bhqk", q, k)
    n, m = logits.shape[-2:]
    if visible is None:
        visible = torch.arange(m)[None] <= torch.arange(m - n, m)[:, None]
    return logits.masked_fill(~visible, -torch.inf).softmax(-1) @ v
""",
    "swiglu": """
import torch.nn.functional as functional
bend = lambda gate: gate * gate.sigmoid()

def swiglu(x, gate_up, down):
    width = down.shape[1]
    both = functional.linear(x, gate_up)
    return functional.linear(bend(both[..., :width]) * both[..., width:], down)
""",
    "RMSNorm": """
from nanokimi import norm

class RMSNorm(norm.RMSNorm):
    def forward(self, x):
        wide = x.double() if x.dtype == torch.float64 else x.float()
        return (wide * (wide.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight).to(x.dtype)
""",
    "SequenceCache": """
class SequenceCache:
    def __init__(self):
        self.stored = ()

    @property
    def length(self):
        return self.stored[0].shape[-2] if self.stored else 0

    def append(self, *new):
        old = self.stored or [tensor[..., :0, :] for tensor in new]
        self.stored = tuple(torch.cat(pair, -2) for pair in zip(old, new))
        return self.stored

    def entries(self):
        return self.stored

    @property
    def nbytes(self):
        return sum(t.nbytes for t in self.stored)
""",
    "newton_schulz": """
COEFFICIENTS = 3.4445, -4.7750, 2.0315

def newton_schulz(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        products = x @ x.mT
        x = a * x + (b * products + c * products @ products) @ x
    return x if wide else x.mT
""",
}


@pytest.fixture(scope="module")
def calls() -> Iterator[Counter]:
    """How often each answer that was written with `counted` was called."""
    counts: Counter = Counter()
    module = ModuleType("calls_of_answers")
    vars(module)["count"] = lambda name: counts.update([name])
    sys.modules[module.__name__] = module
    yield counts
    del sys.modules[module.__name__]


def core_source(name: str) -> str:
    return source_of(all_exercises()[name].core)


def counted(name: str, source: str) -> str:
    """The answer, which counts its calls: those of the function, or of all methods of the class but its __init__."""
    tree = ast.parse(source)
    found = next(node for node in tree.body if getattr(node, "name", "") == name)
    functions = found.body if isinstance(found, ast.ClassDef) else [found]
    for node in functions:
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            node.body.insert(0, ast.parse(f"calls_of_answers.count({name!r})").body[0])
    return f"import calls_of_answers\n{ast.unparse(tree)}"


def fill(folder: Path, answers: Mapping[str, str]) -> Path:
    """The notebooks of the course in `folder`, with these answers in the cells of their exercises."""
    for chapter in COURSE:
        notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            name = cell["id"].removesuffix("-exercise")
            if name in answers and cell["id"] != name:
                cell["source"] = answers[name]
            cell.update({"outputs": []} if cell["cell_type"] == "code" else {})
        (folder / chapter.file).write_text(json.dumps(notebook), encoding="utf-8")
    return folder


def write_notebook(path: Path, cells: Iterable[tuple[str, str]]) -> Path:
    """A notebook with these code cells alone: id and source."""
    made = [
        {
            "cell_type": "code",
            "id": identity,
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for identity, source in cells
    ]
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}), encoding="utf-8"
    )
    return path
