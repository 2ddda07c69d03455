"""The checks reject wrong answers that nobody foresaw: the core's own functions, changed in one place.

Every mutant must fail, except those that compute the same: `equivalents.py` of each chapter gives the reason.
"""

from importlib import import_module

import pytest

from lab_utils.course.chapters import CHAPTERS, all_exercises
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import judge
from tests.course.acceptance import Acceptance
from tests.course.mutants import mutants
from tests.sample import THOROUGH, sample

# Where the answer is a test, its mutants are mostly other good tests; test_vacuous.py holds the wrong ones.
EXERCISES = [e for e in all_exercises().values() if not e.name.startswith("test_")]
SECONDS = 3.0  # for a mutant that no longer comes to an end
ENOUGH = 2  # mutants that the known mistakes do not explain: else the test would ask only what is known


def collect_from_chapters(kind: str) -> dict:
    found = {}
    for number in CHAPTERS:
        found |= getattr(import_module(f"tests.course.ch{number}.equivalents"), kind, {})
    return found


EQUIVALENT, EXTRA = collect_from_chapters("EQUIVALENT"), collect_from_chapters("EXTRA")


@pytest.mark.filterwarnings("ignore")  # a mutant may do what torch warns of
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_mutants_fail(exercise: Exercise):
    same = EQUIVALENT.get(exercise.name, {})
    unforeseen, survivors, check = 0, [], Acceptance(exercise)
    made = list(mutants(exercise.core))
    seen = {change for change, _ in made}
    tried = sample((each for each in made if each[0] not in same), 16)
    for change, mutant in [*tried, *((f.__name__, f) for f in EXTRA.get(exercise.name, ()))]:
        if check.accepts(mutant, SECONDS):
            survivors.append(change)
        elif THOROUGH and unforeseen < ENOUGH:
            result = judge(exercise, mutant, SECONDS, check.key)
            no_name = result.diagnosis is None and result.status == "failed"
            unforeseen += no_name and bool(result.difference.part)
    assert survivors == [], (
        "these pass the check: sharpen its cases, or list them in tests/course/ch*/equivalents.py"
    )
    assert set(same) <= seen, "these stand in tests/course/ch*/equivalents.py and are no mutants (any more)"
    assert not THOROUGH or unforeseen >= ENOUGH, (
        f"only {unforeseen} mutants give a wrong value that the bank does not know"
    )


def test_unknown_names_do_not_hide_in_the_lists():
    assert {*EQUIVALENT, *EXTRA} <= set(all_exercises())


def test_a_mutant_is_one_change():
    def example(x: int, scale: float = 2.0) -> float:
        """Doc, 1."""
        if x < 3:
            return -x * scale
        return abs(x)

    example.__module__ = __name__
    changes = [change for change, _ in mutants(example)]
    assert "if x < 3:  ->  if x <= 3:" in changes
    assert "if x < 3:  ->  if x < 4:" in changes
    assert "return -x * scale  ->  return -x / scale" in changes
    assert "return -x * scale  ->  return _unchanged(x) * scale" in changes
    assert not any("Doc" in change for change in changes)
    assert len(changes) == len(set(changes)) == 8, changes
