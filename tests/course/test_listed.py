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


NUMBERED = re.compile(
    r"\b(row|place|token|expert|rank|node|query|key|head|position|block|channel|step|column|entry|latent|micro-batch"
    r"|window|sequence|layer|pair)s? \d+\b",
    re.I,
)
# A scene of its own, or a task.
SET_APART = ("If ", "With ", "For ", "Compare ")
TRUE_OF_EVERY_INPUT = {
    "The first counts[0] rows belong to expert 0.",
    "The first counts[0] rows belong to expert 0, whatever the others have.",
    "Of the rows for one expert, those of rank 0 come first.",
    "Channels 0 to d-1 belong to head 0.",
}


def test_no_look_at_this_states_what_the_input_beside_it_does_not_show():
    """ "Row 3 has gone to place 2" stands beside an input in which it has not: "If row 3 has gone ..." may stand."""
    found, asked = [], 0
    for exercise in all_exercises().values():
        for known in exercise.mistakes:
            for clause in re.split(r"(?<=[.?!])\s+(?=[A-Z`])|: ", known.look_at):
                if NUMBERED.search(clause):
                    asked += 1
                    if not clause.endswith("?") and not clause.startswith(SET_APART):
                        found.append((exercise.name, known.name, clause))
    assert asked > 40
    assert [each for each in found if each[2] not in TRUE_OF_EVERY_INPUT] == []
