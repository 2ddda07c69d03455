"""Every known mistake that is written down is one of an exercise: nobody meets one that was not listed."""

import importlib
import pkgutil
import re

from lab_utils.course import chapters
from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import Mistake


def test_every_mistake_belongs_to_an_exercise():
    listed = {id(known) for exercise in all_exercises().values() for known in exercise.mistakes}
    written = {}
    for module in pkgutil.walk_packages(chapters.__path__, f"{chapters.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Mistake):
                written[id(value)] = f"{module.name}.{name}"
    assert len(written) > 1000
    assert not [name for known, name in written.items() if known not in listed]


def test_no_mistake_says_what_is_right():
    """A mistake is named although another case, that of float64 perhaps, differs too: there nothing need be right."""
    claim = re.compile(r"\b(is|are|come out|cut|still|elsewhere it is) right\b|\bright (only )?where\b")
    found = [
        f"{exercise.name}, {known.name}: {known.says}"
        for exercise in all_exercises().values()
        for known in exercise.mistakes
        if not exercise.is_hunt and claim.search(known.says)
    ]
    assert found == []
