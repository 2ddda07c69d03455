"""A test of a bug hunt that goes by anything but what pieces give is no answer, whatever a determined reader tries.

A check runs in the reader's own process. What only a process of its own can keep out (the table of what is behind a
piece, the lab's own test) is tried in grading/test_peeking.py.
"""

import contextlib
import functools
import gc
import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lab_utils.course import attempt
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import judge
from tests.course.keys import key_of
from tests.course.looking_cheats import LOOKING, Cheat, verdict
from tests.sample import sample

HUNTS = ("test_sound_attend", "test_sound_clipping", "test_sound_moe", "test_sound_capacity")


@pytest.fixture(autouse=True)
def _an_order_for_these_tests(monkeypatch):
    """The order of a check is drawn anew each time; here it is drawn from a seed, so that a test is repeatable."""
    monkeypatch.setattr(attempt, "SystemRandom", lambda: random.Random(1))


# ---------------------------------------------------------------- what is remembered, in which place ever


def by_counting(count: Callable[[], int], limit: int = 9) -> Cheat:
    def test(piece, *rest):
        assert count() > limit

    return test


def in_a_variable(sound: Cheat) -> Cheat:
    return by_counting(functools.partial(next, itertools.count()))


def in_a_default(sound: Cheat) -> Cheat:
    def test(piece, *rest, met=[]):  # noqa: B006
        met.append(piece)
        assert len(met) % 3

    return test


def in_an_attribute(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        test.n = getattr(test, "n", 0) + 1  # type: ignore[attr-defined]
        assert test.n > 20  # type: ignore[attr-defined]

    return test


def in_a_file(sound: Cheat) -> Cheat:
    folder = tempfile.mkdtemp()

    def count() -> int:
        with open(os.path.join(folder, "n"), "a") as file:
            file.write("x")
            return file.tell()

    return by_counting(count)


def in_the_environment(sound: Cheat) -> Cheat:
    def count() -> int:
        os.environ["N_PIECES"] = str(int(os.environ.get("N_PIECES", 0)) + 1)
        return int(os.environ["N_PIECES"])

    return by_counting(count, 3)


def in_what_torch_keeps(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        was = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads() == 3
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(3)
        assert was == (torch.float32, True, False)

    return test


def in_a_thread(sound: Cheat) -> Cheat:
    kept = threading.local()

    def count() -> int:
        kept.n = getattr(kept, "n", 0) + 1
        return kept.n

    return by_counting(count)


def of_all_that_it_met(sound: Cheat) -> Cheat:
    """It judges well, but begins late."""
    met: list[Any] = []

    def test(piece, *rest):
        met.append(piece)
        if len(met) > 12:
            sound(piece, *rest)

    return test


# ---------------------------------------------------------------- chance and time


def by_torchs_numbers(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert torch.rand(()) < 0.7

    return test


def by_pythons_numbers(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert random.random() < 0.9

    return test


def by_the_systems_numbers(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        assert os.urandom(1)[0] < 230

    return test


def by_the_time_it_takes(sound: Cheat) -> Cheat:
    def test(piece, *rest):
        begun = time.perf_counter()
        verdict(sound, piece, *rest)
        assert (time.perf_counter() - begun) * 1e6 % 2 < 1

    return test


# ---------------------------------------------------------------- verdicts that are none


def caught(sound: Cheat) -> Cheat:
    def test(*given):
        verdict(sound, *given)

    return test


def printed(sound: Cheat) -> Cheat:
    return lambda *given: print("sound" if verdict(sound, *given) else "broken")


def returned(sound: Cheat) -> Cheat:
    test: Any = lambda *given: int(verdict(sound, *given))
    return test


def raised_as_another_error(sound: Cheat) -> Cheat:
    def test(*given):
        if not verdict(sound, *given):
            raise ValueError("broken")

    return test


def raised_for_all(sound: Cheat) -> Cheat:
    def test(*given):
        verdict(sound, *given)
        raise AssertionError

    return test


def given_in_another_thread(sound: Cheat) -> Cheat:
    def quietly(*given):
        with contextlib.suppress(Exception):  # of pieces that give nothing, or another shape
            verdict(sound, *given)

    def test(*given):
        thread = threading.Thread(target=quietly, args=given)
        thread.start()
        thread.join()

    return test


def given_every_second_time(sound: Cheat) -> Cheat:
    calls = itertools.count()
    return lambda *given: sound(*given) if next(calls) % 2 else None


def given_by_chance(sound: Cheat) -> Cheat:
    return lambda *given: sound(*given) if os.urandom(1)[0] < 50 else None


CHEATS = (
    *LOOKING,
    in_a_variable,
    in_a_default,
    in_an_attribute,
    in_a_file,
    in_the_environment,
    in_what_torch_keeps,
    in_a_thread,
    of_all_that_it_met,
    by_torchs_numbers,
    by_pythons_numbers,
    by_the_systems_numbers,
    by_the_time_it_takes,
    caught,
    printed,
    returned,
    raised_as_another_error,
    raised_for_all,
    given_in_another_thread,
    given_every_second_time,
    given_by_chance,
)


@pytest.mark.parametrize("make", CHEATS, ids=lambda make: make.__name__)
def test_a_test_that_does_not_go_by_results_is_no_answer(make: Callable[[Cheat], Cheat]):
    for name in sample(HUNTS, 2, begin=CHEATS.index(make)):
        exercise: Exercise = key_of(name).exercise
        result = judge(exercise, make(exercise.core), key=key_of(name))
        assert result.status == "failed" and result.difference, (name, result)


def test_only_what_a_piece_does_is_hidden_from_the_thread_that_tries_it():
    """A debugger on another thread sees all frames, and so does everybody afterwards."""
    shown: list[Any] = []

    def looking(attend):
        with pytest.raises(OSError, match="look at what a piece of code does"):
            sys._current_frames()
        other = threading.Thread(target=lambda: shown.append(sys._current_frames()))
        other.start()
        other.join()

    before = sys._current_frames, gc.get_objects
    exercise = key_of("test_sound_attend").exercise
    judge(exercise, looking, key=key_of(exercise.name))
    assert shown and (sys._current_frames, gc.get_objects) == before
