"""What `from nanokimi import ...` offers: names on first use, in any order, each with an example that runs."""

import ast
import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import nanokimi

SIX_LINES = """\
import nanokimi as nk

corpus = nk.load_corpus(nk.DataConfig())  # small stories, written on this machine in ten seconds
model = nk.build_model(nk.load_model_config("kimi-tiny"))
for record in nk.train(model, corpus, nk.load_train_config("train-tiny")):  # a few minutes
    print(f"step {record.step}, loss {record.loss:.2f}")
print(corpus.tokenizer.decode(list(nk.generate(model, corpus.tokenizer.encode("Once"), max_new_tokens=80))))
"""
# What makes them quick enough for a test.
SMALL = {
    "DataConfig()": "DataConfig(n_stories=200, n_characters=20, vocab_size=512)",
    "kimi-tiny": "kimi-smoke",
    "train-tiny": "train-smoke",
}


def run(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_nanokimi_loads_no_torch_and_no_module_of_a_model():
    loaded = run("import sys, nanokimi; print(*sys.modules)").split()
    assert [name for name in loaded if name.partition(".")[0] in ("torch", "pydantic", "numpy")] == []
    assert {name for name in loaded if name.startswith("nanokimi.")} <= {
        "nanokimi.system",
        "nanokimi.system.own_path",
    }


def test_every_listed_name_is_there_and_typed():
    """A type checker reads `__all__` and the imports, Python the table: all three must say the same."""
    tree = ast.parse(Path(nanokimi.__file__).read_text(encoding="utf-8"))
    seen_by_checkers = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module.startswith("nanokimi.")
        and node.module != "nanokimi.system"
        for alias in node.names
    }
    assert sorted(seen_by_checkers) == sorted(nanokimi.__all__)
    for name, module in seen_by_checkers.items():
        assert getattr(nanokimi, name) is getattr(importlib.import_module(module), name)
    assert set(nanokimi.__all__) <= set(dir(nanokimi))


def test_an_unknown_name_is_refused_as_in_any_module():
    with pytest.raises(AttributeError, match="module 'nanokimi' has no attribute 'trian'"):
        nanokimi.trian  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'trian' from 'nanokimi'"):
        from nanokimi import trian  # noqa: F401


ORDERS = """
import importlib, itertools, sys, types
import torch

def bind_the_modules():
    import nanokimi.train, nanokimi.evaluate, nanokimi.generate

def import_something_else_of_them():
    from nanokimi.train import checkpoint
    from nanokimi.evaluate import Evaluation
    from nanokimi.generate import next_token_probs

def ask_the_package():
    import nanokimi
    nanokimi.train, nanokimi.evaluate, nanokimi.generate

def import_everything():
    exec("from nanokimi import *", {})

def import_a_module_by_its_name():
    assert isinstance(importlib.import_module("nanokimi.train"), types.ModuleType)

WAYS = (
    bind_the_modules, import_something_else_of_them, ask_the_package, import_everything, import_a_module_by_its_name
)
for order in itertools.permutations(WAYS, 2):
    for name in [name for name in sys.modules if name.partition(".")[0] == "nanokimi"]:
        del sys.modules[name]
    for way in order:
        way()
        from nanokimi import evaluate, generate, train
        import nanokimi.train as under_another_name
        functions = (evaluate, generate, train, under_another_name, sys.modules["nanokimi"].train)
        assert all(isinstance(f, types.FunctionType) for f in functions), (order, way)
        for name, f in (("evaluate", evaluate), ("generate", generate), ("train", train)):
            assert f is getattr(sys.modules[f"nanokimi.{name}"], name), (order, way)
print("all orders")
"""


def test_train_evaluate_and_generate_are_functions_in_every_order_of_imports():
    assert run(ORDERS) == "all orders\n"


def test_a_public_function_can_be_replaced_in_a_test(monkeypatch):
    monkeypatch.setattr(nanokimi, "train", "another")
    from nanokimi import train

    assert train == "another"


@pytest.mark.parametrize("name", nanokimi.__all__)
def test_the_example_of_every_public_name_runs(name):
    public = getattr(nanokimi, name)
    found = doctest.DocTestFinder(recurse=False).find(public, name, globs={})
    assert sum(len(test.examples) for test in found) >= 2, "an example imports the name and uses it"
    for test in found:
        report: list[str] = []
        failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
        assert failed == 0, "".join(report)


@pytest.mark.parametrize("name", nanokimi.__all__)
def test_a_public_docstring_names_every_argument_and_the_errors(name):
    public = getattr(nanokimi, name)
    text = inspect.getdoc(public)
    assert [p for p in inspect.signature(public).parameters if p not in text] == []
    assert "aises `" in text or name == "build_model"  # which has nothing to refuse


def test_the_six_lines_of_the_readme_build_train_and_sample(capsys):
    lines = SIX_LINES
    for large, small in SMALL.items():
        assert large in lines
        lines = lines.replace(large, small)
    exec(compile(lines, "six lines", "exec"), {})
    *steps, text = capsys.readouterr().out.splitlines()
    assert steps[-1].startswith("step 30, loss ")
    assert text
