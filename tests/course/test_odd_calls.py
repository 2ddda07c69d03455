"""Every function of the course that a notebook imports answers a call that does not fit in one sentence."""

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest
import torch

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LINE = re.compile(r"^from (lab_utils\.course\.(?!chapters)[\w.]+) import ([\w, ]+)", re.MULTILINE)
ODD = [None, 3, -1.5, "", "no such thing", [], {}, (1, 2), torch.ones(2), object(), len, b"x", True]


def functions() -> dict:
    found = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for module, names in LINE.findall("".join(cell["source"])):
                for name in filter(None, map(str.strip, names.split(","))):
                    found[name] = getattr(importlib.import_module(module), name)
    return {name: each for name, each in found.items() if inspect.isfunction(each)}


FUNCTIONS = functions()


def answer(call) -> str:
    """What a call answers: nothing where it works, else its one line."""
    try:
        call()
    except ValueError as error:
        says = str(error)
        assert says and says.isprintable(), says
        return says
    return ""


def test_all_that_notebooks_import_is_here():
    assert {"check", "hint", "reveal", "show_code", "predict", "progress", "start_again", "yours"} <= set(
        FUNCTIONS
    )
    assert len(FUNCTIONS) > 12


@pytest.mark.parametrize("name", FUNCTIONS)
def test_too_few_too_many_and_unknown_arguments_are_refused_in_one_line(name):
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters.values()
    if any(each.default is each.empty and each.kind is not each.VAR_KEYWORD for each in parameters):
        assert f"{name}: missing a required argument" in answer(function)
    assert answer(lambda: function(*range(9))).startswith(f"{name}: too many positional arguments")
    if all(each.kind is not each.VAR_KEYWORD for each in parameters):
        assert "nonsense" in answer(lambda: function(nonsense=1)) or "missing" in answer(
            lambda: function(nonsense=1)
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_odd_first_argument_is_taken_or_refused_in_one_line(name):
    for value in ODD:
        answer(lambda value=value: FUNCTIONS[name](value))


def test_a_guess_that_is_no_number_is_answered_with_and_without_a_question():
    predict = FUNCTIONS["predict"]
    says = answer(lambda: predict(guess="about 3"))
    assert says.startswith(
        "predict: missing a required argument: 'name'; it is called as predict(name, question, *"
    )
    assert answer(lambda: predict("n", "How many?", guess="about 3")).startswith(
        "guess='about 3' must be a number"
    )
