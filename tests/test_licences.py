"""docs/licences.md names every package that pyproject.toml asks for, with the licence that the package states."""

import importlib.metadata
import re

import pytest
from packaging.utils import canonicalize_name

from docs.make_licences import HEAD, LICENCES, PARTS, asked_for, closure, licence

PAGE = LICENCES.read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([\w.-]+) \| (.+) \| (?:asked for|needed by another) \|$", PAGE, re.M))
DIRECT = sorted({canonicalize_name(each.name) for extras in PARTS.values() for each in asked_for(extras)})


@pytest.mark.parametrize("name", DIRECT)
def test_a_package_that_is_asked_for_stands_there_with_its_licence(name):
    assert ROWS[name] == licence(name)
    assert f"| {name} | {ROWS[name]} | asked for |" in PAGE


def test_every_package_states_a_licence_and_none_a_licence_that_reaches_over_to_ours():
    assert PAGE.startswith(HEAD) and len(ROWS) > len(DIRECT)
    assert not [name for name, text in ROWS.items() if text == "not stated" or "GPL" in text]


def test_what_is_needed_in_turn_is_found():
    """Against what torch and jaxtyping are known to need; tests of theirs and other systems are left out."""
    found = closure(asked_for(("",)))
    assert {"torch", "sympy", "mpmath", "jaxtyping", "wadler-lindig"} <= found
    assert not found & {"jupyterlab", "matplotlib", "pytest", "colorama"}


@pytest.mark.parametrize(
    ("about", "found"),
    [
        ({"License-Expression": ["MIT AND Zlib"], "License": ["the text"]}, "MIT AND Zlib"),
        (
            {"Classifier": ["License :: OSI Approved", "License :: OSI Approved :: BSD License"]},
            "BSD License",
        ),
        ({"License": ["Apache 2.0\nand its whole text"]}, "Apache 2.0"),
        ({}, "not stated"),
    ],
)
def test_the_licence_is_what_the_package_states(monkeypatch, about, found):
    class Metadata:
        def get_all(self, name):
            return about.get(name)

        def __getitem__(self, name):
            return about.get(name, [None])[0]

    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Metadata())
    monkeypatch.setattr(importlib.metadata, "files", lambda name: None)
    assert licence("whatever") == found


def test_a_package_whose_metadata_say_nothing_has_the_first_line_of_its_licence_file():
    assert licence("axe-playwright-python") == "MIT License"
