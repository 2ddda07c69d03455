"""The bug hunts judge what a test does with the pieces' results: no name, source, order or memory helps it."""

import inspect
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lab_utils.course import judge as judge_module
from lab_utils.course.anonymous import anonymous
from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import TEST, Exercise
from lab_utils.course.judge import judge
from tests.course.keys import key_of
from tests.sample import sample

HUNTS = [e for e in all_exercises().values() if e.name.startswith("test_")]
every_hunt = pytest.mark.parametrize("exercise", HUNTS, ids=lambda e: e.name)
some_hunts = pytest.mark.parametrize("exercise", sample(HUNTS, 12, begin=2), ids=lambda e: e.name)


@pytest.fixture(autouse=True)
def _an_order_for_these_tests(monkeypatch):
    """The order of a check is drawn anew each time; here it is drawn from a seed, so that a test is repeatable."""
    monkeypatch.setattr(judge_module, "SystemRandom", lambda: random.Random(1), raising=False)


def type_of(piece: Any) -> type:
    return piece if isinstance(piece, type) else type(piece)


def text_of_error(piece: Any) -> str:
    try:
        piece()
    except Exception as error:
        return str(error)
    return ""


def places_of_error(piece: Any) -> str:
    found = ""
    try:
        piece(*[None] * 5)
    except Exception as error:
        trace = error.__traceback__
        while trace:
            found += trace.tb_frame.f_code.co_filename + trace.tb_frame.f_code.co_name
            trace = trace.tb_next
    return found


# What a test may look at, other than results.
LABELS: dict[str, Callable[[Any], Any]] = {
    "name": lambda piece: getattr(piece, "__name__", ""),
    "qualified name": lambda piece: getattr(piece, "__qualname__", ""),
    "module": lambda piece: piece.__module__,
    "docstring": lambda piece: piece.__doc__,
    "class": lambda piece: (type_of(piece).__name__, type_of(piece).__qualname__, type_of(piece).__module__),
    "bases": lambda piece: [each.__qualname__ for each in type_of(piece).__mro__],
    "text": lambda piece: repr(piece).split(" at 0x")[0],
    "source": lambda piece: inspect.getsource(piece if hasattr(piece, "__name__") else type(piece)),
    "source of forward": lambda piece: inspect.getsource(getattr(type_of(piece), "forward", text_of_error)),
    "code": lambda piece: getattr(piece, "__code__", None),
    "names in the code": lambda piece: getattr(getattr(piece, "__code__", None), "co_names", ""),
    "closure": lambda piece: [
        cell.cell_contents for cell in getattr(piece, "__closure__", None) or () if cell.cell_contents is not piece
    ],
    "defaults": lambda piece: getattr(piece, "__defaults__", None),
    "attributes": lambda piece: sorted(vars(piece)) if not isinstance(piece, nn.Module) else "",
    "wrapped": lambda piece: inspect.unwrap(piece) if inspect.unwrap(piece) is not piece else "",
    "signature": lambda piece: str(inspect.signature(piece)),
    "weights": lambda piece: list((piece(8) if isinstance(piece, type) else piece).state_dict()),
    "text of an error": text_of_error,
    "places of an error": places_of_error,
}  # fmt: skip

# These show what a piece does or is made of, and may differ. No sound piece is known by them.
INSIDE = ("text of an error", "places of an error", "weights")


def label_of(label: str, piece: Any) -> str:
    try:
        return repr(LABELS[label](piece))
    except Exception as error:
        return repr(type(error))


def judged(exercise: Exercise) -> list[tuple[Any, str]]:
    """The pieces that count, and what a test must do for each."""
    key = key_of(exercise.name)
    return [(c.args[0], key.expected(i)[TEST]) for i, c in enumerate(key.cases) if c.judged]


@every_hunt
def test_there_are_pieces_that_no_notebook_shows(exercise: Exercise):
    verdicts = [verdict for _, verdict in judged(exercise)]
    assert verdicts.count("fails") >= 2 and verdicts.count("passes") >= 3
    says = [case.says for case in key_of(exercise.name).cases]
    assert says[0] == "the piece above" and len(set(says)) == len(says)


@every_hunt
def test_all_pieces_look_alike(exercise: Exercise):
    pieces = [anonymous(case.fresh_args()[0]) for case in exercise.cases()]
    seen = {label: {label_of(label, piece) for piece in pieces} for label in LABELS if label not in INSIDE}
    assert {label: found for label, found in seen.items() if len(found) != 1} == {}


@some_hunts
def test_a_test_that_reads_labels_is_no_answer(exercise: Exercise):
    """It knows the label of every broken piece. All other labels are the same for all pieces, as seen above."""
    for label in INSIDE:
        broken = [label_of(label, piece) for piece, verdict in judged(exercise) if verdict == "fails"]

        def cheat(piece, *rest, label=label, broken=broken):
            assert label_of(label, piece) not in broken

        assert judge(exercise, cheat, key=key_of(exercise.name)).status == "failed", label


@every_hunt
def test_a_test_that_knows_the_pieces_is_no_answer(exercise: Exercise):
    broken = [piece for piece, verdict in judged(exercise) if verdict == "fails"]

    def cheat(piece, *rest):
        assert not any(piece is each or type(piece) is type(each) is not type(cheat) for each in broken)

    assert judge(exercise, cheat, key=key_of(exercise.name)).status == "failed"


def in_the_order_of_the_cases(exercise: Exercise) -> Callable:
    key = key_of(exercise.name)
    broken = [case.judged and key.expected(i)[TEST] == "fails" for i, case in enumerate(key.cases)]
    verdicts = itertools.cycle(broken)

    def cheat(piece, *rest):
        assert not next(verdicts)

    return cheat


def at_the_first_call(exercise: Exercise) -> Callable:
    calls = []

    def cheat(piece, *rest):
        calls.append(1)
        assert len(calls) > 1

    return cheat


def at_every_second_call(exercise: Exercise) -> Callable:
    calls = []

    def cheat(piece, *rest):
        calls.append(1)
        assert len(calls) % 2

    return cheat


def whatever_is_new(exercise: Exercise) -> Callable:
    seen: list[Any] = []

    def cheat(piece, *rest):
        known = any(piece is each for each in seen)
        seen.append(piece)
        assert known

    return cheat


def whatever_was_seen(exercise: Exercise) -> Callable:
    seen: list[Any] = []

    def cheat(piece, *rest):
        known = any(piece is each for each in seen)
        seen.append(piece)
        assert not known

    return cheat


def by_a_drawn_number(exercise: Exercise) -> Callable:
    def cheat(piece, *rest):
        assert torch.rand(()) < 0.5

    return cheat


def by_a_mark_on_the_piece(exercise: Exercise) -> Callable:
    calls = []

    def cheat(piece, *rest):
        calls.append(1)
        if len(calls) == 1:
            piece.broken = True
        assert not getattr(piece, "broken", False)

    return cheat


def by_an_order_learnt_before(exercise: Exercise) -> Callable:
    """The sound test tells the order in a first check; a second check gets that order again."""
    learnt: list[bool] = []

    def cheat(piece, *rest):
        if after_the_first:
            assert not learnt.pop(0)
            return
        try:
            exercise.core(piece, *rest)
        except Exception:
            learnt.append(True)
            raise
        learnt.append(False)

    after_the_first = False
    assert judge(exercise, cheat).status == "passed"
    after_the_first = True
    return cheat


CHEATS = [
    in_the_order_of_the_cases,
    at_the_first_call,
    at_every_second_call,
    whatever_is_new,
    whatever_was_seen,
    by_a_drawn_number,
    by_a_mark_on_the_piece,
]


@some_hunts
@pytest.mark.parametrize("make", CHEATS, ids=lambda make: make.__name__)
def test_a_test_that_counts_or_remembers_is_no_answer(exercise: Exercise, make: Callable):
    assert judge(exercise, make(exercise), key=key_of(exercise.name)).status == "failed"


@some_hunts
def test_an_order_that_was_learnt_helps_no_more(exercise: Exercise, monkeypatch):
    seeds = itertools.count()
    monkeypatch.setattr(judge_module, "SystemRandom", lambda: random.Random(next(seeds)), raising=False)
    assert judge(exercise, by_an_order_learnt_before(exercise)).status == "failed"
