"""The exercises of the course, a module a notebook. An exercise has the name of the function that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from lab_utils.arms import nearest
from lab_utils.exercise import Exercise

MODULES = ("text", "attention", "experts", "routing", "latent", "model", "muon", "sampling")


def all_exercises() -> dict[str, Exercise]:
    """Every exercise by its name, in the order of the course."""
    found: dict[str, Exercise] = {}
    for module in MODULES:
        for exercise in import_module(f"lab_utils.exercises.{module}").EXERCISES:
            assert exercise.name not in found, f"two exercises are called {exercise.name}"
            found[exercise.name] = exercise
    return found


def find(answer: Callable | str) -> Exercise:
    """The exercise that a function answers, by its name."""
    name = answer if isinstance(answer, str) else getattr(answer, "__name__", repr(answer))
    known = all_exercises()
    if name not in known:
        raise ValueError(f"there is no exercise called {name!r}; {nearest(name, list(known))}")
    return known[name]
