"""The rules of the house that ruff and import-linter do not know, and that shapes really are checked."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch

from nanokimi.attention import attend

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "nanokimi").rglob("*.py"))
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
MUTATORS = {
    "append",
    "extend",
    "insert",
    "pop",
    "popitem",
    "clear",
    "update",
    "setdefault",
    "add",
    "discard",
    "remove",
}


def project_texts() -> dict[Path, str]:
    """Every text file that git tracks, or would."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    texts = {}
    for name in listing.stdout.rstrip("\0").split("\0"):
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".safetensors", ".woff2"}:
            texts[path.relative_to(ROOT)] = path.read_text(encoding="utf-8")
    return texts


def name_of(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def find_changed_name(node: ast.AST) -> str | None:
    """The name of the container that this node changes: X.append(...), X[...] = ..., del X[...]."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return name_of(node.func.value)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return name_of(node.value)
    return None


def hidden_state(source: str) -> list[str]:
    """What makes a module remember: `global`, a container without a constant's name, a constant that is changed."""
    tree = ast.parse(source)
    found, constants = [], set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_mutable(node.value):
            for name in map(name_of, targets):
                if name is not None and name.lstrip("_").isupper():
                    constants.add(name)
                elif name != "__all__":
                    found.append(f"line {node.lineno}: {name} is a mutable global")
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.append(f"line {node.lineno}: global {', '.join(node.names)}")
        elif (name := find_changed_name(node)) in constants:
            found.append(f"line {node.lineno}: the constant {name} is changed")
    return found


@pytest.mark.parametrize("path", CORE, ids=lambda p: p.name)
def test_core_keeps_no_hidden_state(path):
    # The one exception: which code belongs to the name of an attention of one's own.
    allowed = ["_table is a mutable global"] if path == ROOT / "nanokimi" / "own" / "table.py" else []
    assert [each.partition(": ")[2] for each in hidden_state(path.read_text())] == allowed


@pytest.mark.parametrize(
    "source",
    [
        "metrics = []",
        "seen: dict = {}",
        "losses = defaultdict(list)",
        "X = 0\ndef f():\n    global X\n    X = 1",
        "CACHE = {}\ndef f(k):\n    CACHE[k] = 1",
        "LOG = []\ndef f(k):\n    LOG.append(k)",
    ],
)
def test_hidden_state_is_found(source):
    assert len(hidden_state(source)) == 1


def test_tables_are_not_hidden_state():
    assert (
        hidden_state("ROLES = ('a', 'b')\nPLOTS = {'a': [1]}\n\ndef f():\n    rows = []\n    rows.append(1)")
        == []
    )


@pytest.mark.parametrize("path", [p for p in CORE if p.parent.name != "cli"], ids=lambda p: p.name)
def test_core_prints_nothing(path):
    """The command line alone speaks."""
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert [n.lineno for n in calls if name_of(n.func) in {"print", "display"}] == []


def test_importing_the_whole_core_brings_no_notebook_and_no_plot():
    code = (
        "import importlib, json, pkgutil, sys, nanokimi\n"
        "found = (m.name for m in pkgutil.walk_packages(nanokimi.__path__, 'nanokimi.'))\n"
        "for name in found:\n"
        "    if not name.endswith('__main__'): importlib.import_module(name)\n"
        "json.dump(sorted(sys.modules), sys.stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    roots = {name.partition(".")[0] for name in loaded}
    heavy = {
        "lab_utils",
        "IPython",
        "ipywidgets",
        "matplotlib",
        "plotly",
        "transformers",
        "datasets",
        "pandas",
    }
    assert "nanokimi" in roots
    assert roots & heavy == set()
    assert "torch._dynamo" not in loaded  # the compiler takes seconds: who compiles pays for it


def test_shapes_are_checked():
    """conftest.py turns annotations into checks: torch would stretch a batch of one over both, silently."""
    q, k = torch.zeros(2, 1, 3, 4), torch.zeros(1, 1, 3, 4)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'k'"):
        attend(q, k, k, scale=1.0)


def test_no_file_names_a_place_on_somebodys_machine():
    personal = re.compile(r"(?<![\w.}])/(?:work|root|home|Users)/\w+")
    found = {str(path): personal.findall(text) for path, text in project_texts().items()}
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_only_ci_names_the_folder_beside_the_checkout():
    folder = "shared" + "/data"
    named_in = {str(path) for path, text in project_texts().items() if folder in text}
    assert named_in <= {".ci/run"}
