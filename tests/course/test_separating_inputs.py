"""No input shows a mistake that the cases miss: Hypothesis searches for one, with the inputs of `chNN/inputs.py`.

What passes a check must do the same as the core on every input. Searched are: the core with one value bent
(`corners.py`), its mutants that are listed as computing the same, and the right answers in other styles.
"""

import dataclasses
from importlib import import_module
from types import ModuleType

import hypothesis
import pytest
import torch
from hypothesis.strategies import SearchStrategy

from lab_utils.course.chapters import CHAPTERS, all_exercises
from lab_utils.course.exercise import Case, Exercise
from lab_utils.course.judge import AnswerKey, judge
from tests.course.acceptance import Acceptance, passes
from tests.course.corners import bent
from tests.course.mutants import mutants
from tests.sample import sample

EXERCISES = [e for e in all_exercises().values() if not e.is_hunt]
SECONDS = 10.0


def n_inputs(exercise: Exercise) -> int:
    """Modules take more time, and texts most."""
    if exercise.name == "generate":
        return 2
    return 4 if isinstance(exercise.core, type) else 12


def chapter(exercise: Exercise, name: str) -> ModuleType:
    return import_module(f"tests.course.ch{exercise.notebook}.{name}")


def draw(strategy: SearchStrategy, n: int) -> list[tuple]:
    """The first `n` inputs, the same ones every time: the simplest come first."""
    found: list[tuple] = []
    kind = hypothesis.settings(
        max_examples=n,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )

    @kind
    @hypothesis.given(strategy)
    def keep(args: tuple) -> None:
        found.append(args)

    keep()
    return found


def key_of_inputs(exercise: Exercise) -> AnswerKey:
    """The exercise with drawn inputs as its cases, but for those that the core refuses."""
    drawn = draw(chapter(exercise, "inputs").INPUTS[exercise.name], n_inputs(exercise))
    cases = [Case(f"drawn input {number}", args) for number, args in enumerate(drawn)]
    plain = dataclasses.replace(exercise, mistakes=(), cases=lambda: cases)
    key = AnswerKey(plain)
    valid = [case for number, case in enumerate(cases) if is_valid(key, number)]
    return AnswerKey(dataclasses.replace(plain, cases=lambda: valid))


def is_valid(key: AnswerKey, number: int) -> bool:
    try:
        key.expected(number)
    except AssertionError:
        return False
    return True


def answers(exercise: Exercise):
    """What may be accepted, by a name: changed cores that are listed as right, right answers, and bent cores."""
    same = chapter(exercise, "equivalents").EQUIVALENT.get(exercise.name, {})
    yield from ((name, answer) for name, answer in mutants(exercise.core) if name in same)
    yield from (
        (a.__name__, a) for name, a in chapter(exercise, "test_right_answers").RIGHT if name == exercise.name
    )
    yield from bent(exercise.core)


@pytest.mark.filterwarnings("ignore")  # a bent value may do what torch warns of
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_what_passes_is_right_on_every_input(exercise: Exercise):
    key, check = key_of_inputs(exercise), Acceptance(exercise)
    apart = getattr(chapter(exercise, "inputs"), "APART", {}).get(exercise.name, {})
    assert len(key.cases) >= n_inputs(exercise) // 2, "most inputs must be valid"
    # The drawn inputs first: they are fewer than the check's.
    wrong = {
        name: answer
        for name, answer in sample(answers(exercise), 24, begin=EXERCISES.index(exercise))
        if not passes(key, answer, SECONDS)
    }
    found = [name for name, answer in wrong.items() if check.accepts(answer, SECONDS)]
    assert set(found) <= apart.keys(), found


def test_every_exercise_has_inputs():
    for number in CHAPTERS:
        names = {e.name for e in EXERCISES if e.notebook == number}
        assert set(import_module(f"tests.course.ch{number}.inputs").INPUTS) == names


def violation_by_distance(load):
    return ((load.float() / load.float().mean() - 1).abs().max()).item()


@torch.no_grad()
def bias_by_whole_mean(expert_bias, load, rate):
    delta = rate * (load.sum() // len(load) - load).sign()
    expert_bias += delta - delta.mean()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("max_violation", violation_by_distance), ("update_expert_bias_", bias_by_whole_mean)],
    ids=["max_violation", "update_expert_bias_"],
)
def test_the_search_finds_what_random_numbers_miss(name, answer):
    key = key_of_inputs(all_exercises()[name])
    assert judge(key.exercise, answer, SECONDS, key).status == "failed"
