"""Every exercise: the core passes, and each known mistake fails and is named as itself."""

import pytest

from lab_utils.course.attempt import Attempt
from lab_utils.course.chapters import all_exercises
from lab_utils.course.chapters.ch05_latent.mistakes.weak_summary import future_test_of_every_bit
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import compare, judge
from lab_utils.show.note import with_code
from tests.course.keys import key_of
from tests.sample import sample

EXERCISES = list(all_exercises().values())
# Their answers run whole models or many steps: together half of the time of this file.
SLOW = {"generate", "Kimi", "clip_qk_", "Muon", "MultiHeadLatentAttention"}
MISTAKES = [
    pytest.param(exercise, known, id=f"{exercise.name}-{known.name}")
    for exercise in EXERCISES
    for known in sample(exercise.mistakes, 24 if exercise.name in SLOW else 6)
]


@pytest.mark.parametrize(
    "exercise",
    [pytest.param(e, id=e.name, marks=[pytest.mark.slow] if e.name in SLOW else []) for e in EXERCISES],
)
def test_the_core_passes_its_check_and_has_every_property(exercise: Exercise):
    result = judge(exercise, exercise.core, key=key_of(exercise.name))
    assert result.status == "passed", result
    for case in exercise.cases():
        if case.judged:
            parts = exercise.observe(exercise.core, *case.fresh_args())
            assert [p.says for p in exercise.properties if not p.holds(parts, *case.fresh_args())] == []


@pytest.mark.parametrize(("exercise", "known"), MISTAKES)
def test_a_known_mistake_fails_and_is_named_as_itself(exercise, known):
    """By what it gives in the answer key. The first of each exercise is judged as an answer of a learner's is."""
    key = key_of(exercise.name)
    if known is exercise.mistakes[0]:
        result = judge(exercise, known.wrong, key=key)
    else:
        outcomes = tuple(key.outcome(known.wrong, number) for number in range(len(key.cases)))
        result = compare(key, Attempt(outcomes))
    assert result.status == "failed"
    if known.wrong is future_test_of_every_bit.wrong and not result.diagnoses:
        # Its pieces round alike on some machines: what it asks for is then told instead, by the pieces' doubles.
        assert "So it asks for exactly equal numbers" in result.beside
        return
    # Two ways to make one mistake, with the same words, are alike on some machines.
    assert result.diagnosis is not None and result.diagnosis.says == known.says, result
    assert known.says in repr(result) and with_code(known.says) in result._repr_html_()


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_an_exercise_is_whole(exercise: Exercise):
    assert len(exercise.mistakes) >= 5
    assert len({m.name for m in exercise.mistakes}) == len(exercise.mistakes)
    assert len(set(exercise.hints)) == 3
    assert exercise.name == exercise.core.__name__
    for known in exercise.mistakes:
        assert known.says.endswith((".", "?")) and known.look_at.endswith((".", "?"))


def test_there_are_as_many_exercises_as_promised():
    bugs = [e for e in EXERCISES if e.name.startswith("test_")]
    assert len(EXERCISES) - len(bugs) >= 30
    assert len(bugs) >= 10
