"""The exercises of the course, one folder per notebook. An exercise has the name of the function that it asks for."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from lab_utils.course.chapters.ch01_text import exercises as ch01
from lab_utils.course.chapters.ch02_attention import exercises as ch02
from lab_utils.course.chapters.ch03_experts import exercises as ch03
from lab_utils.course.chapters.ch04_routing import exercises as ch04
from lab_utils.course.chapters.ch05_latent import exercises as ch05
from lab_utils.course.chapters.ch06_model import exercises as ch06
from lab_utils.course.chapters.ch07_muon import exercises as ch07
from lab_utils.course.chapters.ch10_sampling import exercises as ch10
from lab_utils.course.chapters.ch11_machines import exercises as ch11
from lab_utils.course.exercise import Exercise
from lab_utils.show.words import kind_of
from nanokimi.system.printable import quote

CHAPTERS = {
    "01": ch01,
    "02": ch02,
    "03": ch03,
    "04": ch04,
    "05": ch05,
    "06": ch06,
    "07": ch07,
    "10": ch10,
    "11": ch11,
}


def all_exercises() -> dict[str, Exercise]:
    """Every exercise by its name, in the order of the course."""
    found: dict[str, Exercise] = {}
    for chapter in CHAPTERS.values():
        for exercise in chapter.EXERCISES:
            assert exercise.name not in found, f"two exercises are called {exercise.name}"
            found[exercise.name] = exercise
    return found


def _name_of(answer: Any) -> str | None:
    try:
        name = answer.__name__
    except Exception:  # an object of the learner's may raise anything
        return None
    return name if isinstance(name, str) else None


def find(answer: Callable | str, verb: str = "check") -> Exercise:
    """The exercise that a function answers, by its name. Raises a `ValueError` where there is none.

    `verb` is what the reader has called.
    """
    name = answer if isinstance(answer, str) else _name_of(answer)
    known = all_exercises()
    if name in known:
        return known[name]
    if type(answer).__name__ in known:
        raise ValueError(
            f"this is {kind_of(answer)} that was made already: name the class, {type(answer).__name__}"
        )
    if name is None:
        wrong = (
            f"this is {kind_of(answer)}, which has no name of its own: name the function, and do not call it"
        )
        raise ValueError(f"{wrong}, as in {verb}(attend)")
    elif near := difflib.get_close_matches(name[:80], known, n=1, cutoff=0.5):
        raise ValueError(f"there is no exercise called {quote(name)}; did you mean {near[0]}?")
    else:
        wrong = f"there is no exercise called {quote(name)}"
    raise ValueError(f"{wrong}: an exercise has the name that `def` or `class` gives to its answer")
