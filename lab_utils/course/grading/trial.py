"""An answer is tried: it runs on its cases in a child of its own, without the lab's own answer within its reach."""

from __future__ import annotations

import functools
import gc
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from lab_utils.course.attempt import NO_END, SECONDS, limit, run_cases
from lab_utils.course.exercise import Exercise
from lab_utils.course.grading.apart import run_apart
from lab_utils.course.grading.portable import pack_attempt, plain
from lab_utils.course.grading.tripwire import Tripwire, is_the_labs
from lab_utils.course.grading.unnamed import only
from lab_utils.course.grading.unseen import unseen_cases
from lab_utils.course.usual_state import usual_state
from nanokimi.system.deadline import call_within

TO_START = 5.0  # seconds, for a child and what it does around an answer


class Trial:
    """The cases of an exercise, made before a learner's first line runs. `seed` is for inputs that nobody has seen."""

    def __init__(self, exercise: Exercise, seed: int):
        self._exercise, self._seed = exercise, seed
        self._tripwire = _tripwire()
        with usual_state():
            self._cases = list(exercise.cases())

    def run(self, answer: Any) -> dict[str, Any]:
        """What the answer gives, as plain data: "attempt", with "unseen" beside it; or "core", or "died"."""
        if is_the_labs(answer, self._exercise.core):
            return {"core": True}
        run = self._run_hunt if self._exercise.is_hunt else self._run_plain
        seconds = 2 * (limit(self._exercise, SECONDS) + TO_START)
        # A new thread has nothing of what torch keeps for each: the device of new tensors, the modes that were entered.
        given = run_apart(lambda: call_within(seconds, lambda: run(answer)), seconds)
        return given if isinstance(given, dict) else {"died": True}

    def _run_plain(self, answer: Any) -> dict[str, Any]:
        self._begin()
        exercise = replace(self._exercise, observe=_with_plain_results(self._exercise.observe))
        if isinstance(answer, type):
            torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: plain(out))
        attempt = run_cases(exercise, self._cases, answer)
        found = {"attempt": pack_attempt(attempt)}
        if all(outcome.parts is not None for outcome in attempt.outcomes) and not attempt.why:
            unseen = unseen_cases(self._cases, self._seed)
            found["unseen"] = pack_attempt(run_cases(exercise, unseen, answer))
        return found

    def _run_hunt(self, test: Any) -> dict[str, Any]:
        """What a test says of each piece. Each is in a process of its own, and their order is drawn."""
        self._begin()
        numbers = list(range(len(self._cases)))
        random.SystemRandom().shuffle(numbers)
        found: dict[int, Any] = {}
        for number in numbers:
            given = run_apart(
                lambda number=number: self._run_piece(test, number), limit(self._exercise, SECONDS) + TO_START
            )
            if not isinstance(given, dict):
                return {"died": True}
            attempt = given["attempt"]
            if attempt["why"]:
                return {"attempt": attempt if attempt["why"] != NO_END else {"why": NO_END, "outcomes": []}}
            found[number] = attempt["outcomes"][0]
        return {"attempt": {"why": "", "outcomes": [found[number] for number in sorted(found)]}}

    def _run_piece(self, test: Any, number: int) -> dict[str, Any]:
        alone = only(self._cases[number], self._cases)
        return {"attempt": pack_attempt(run_cases(self._exercise, [alone], test))}

    def _begin(self) -> None:
        torch.set_num_threads(1)  # the threads of the process from which this one comes are not here
        gc.disable()  # it would write into every page of memory that both processes share until then
        self._tripwire.set(self._exercise)


@functools.cache
def _tripwire() -> Tripwire:
    return Tripwire()


def load_nothing_later() -> None:
    """Import now what an answer's trial needs, and note which code is the lab's: no learner's line has run yet."""
    import lab_utils.course.judge  # noqa: F401  what a check in the notebook imports

    _tripwire()


def _with_plain_results(observe: Callable) -> Callable:
    """The observer, for which a function's results are plain tensors: a class of the learner's own cannot pretend."""

    def observe_plain(answer: Callable, *args: Any) -> Any:
        if isinstance(answer, type):
            return observe(answer, *args)

        @functools.wraps(answer)
        def run(*given: Any, **named: Any) -> Any:
            return plain(answer(*given, **named))

        return observe(run, *args)

    return observe_plain
