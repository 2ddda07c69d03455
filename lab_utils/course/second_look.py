"""A second look at a diagnosed test of a bug hunt: does it say the same as the known weak test of altered pieces too?

The pieces by which a test is judged are few. Two tests that agree on them may ask for different things: one that every
number is 0.2, the other that all of them sum to 1. So a sound piece is altered in ways that have nothing to do with its
fault; a weak test that says otherwise of one of these is not what the learner wrote.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.agreement import accept_alike
from lab_utils.course.attempt import run_case, run_cases
from lab_utils.course.doubles import changing
from lab_utils.course.exercise import TEST, Case, Exercise, Mistake
from lab_utils.course.usual_state import usual_state


def still_alike(
    exercise: Exercise, sound: Case, test: Callable, known: Sequence[Mistake], seconds: float
) -> tuple[Mistake, ...]:
    """Those of the known weak tests that say the same as `test` of every altered form of the sound piece."""
    cases = [replace(sound, args=(changing(_of(alter))(sound.args[0]), *sound.args[1:])) for alter in ALTERED]
    with contextlib.redirect_stdout(io.StringIO()):
        given = run_cases(exercise, cases, test, seconds).outcomes
    left = list(known)
    for case, its in zip(cases, given):  # fewer where the time was over
        with usual_state(), warnings.catch_warnings(action="ignore"):
            left = [each for each in left if _says(exercise, each, case, its)]
    return tuple(left)


def find_sound(cases: Sequence[Case], expected: Callable[[int], Any]) -> Case:
    """The first piece for which a test must pass."""
    return next(
        case for number, case in enumerate(cases) if case.judged and expected(number) == {TEST: "passes"}
    )


def _says(exercise: Exercise, known: Mistake, case: Case, given: Any) -> bool:
    return accept_alike(run_case(exercise, known.wrong, case), given, exercise.tolerance)


# ---------------------------------------------------------------- what is altered


def _of(alter: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """`alter` for a piece that returns a tensor. Which of several values a test is about nobody knows: they stay."""

    def altered(result: Any, *args: Any) -> Any:
        return alter(result) if isinstance(result, Tensor) else result

    return altered


def halve(out: Tensor) -> Tensor:
    return out * 0.5 if out.is_floating_point() else out


def tilt(out: Tensor) -> Tensor:
    """Later numbers are larger, and each row keeps its sum, where it has one."""
    if not out.is_floating_point() or out.ndim == 0:
        return out
    tilted = out * torch.linspace(0.5, 1.5, out.shape[-1], dtype=out.dtype)
    before, after = out.sum(-1, keepdim=True), tilted.sum(-1, keepdim=True)
    return torch.where((before == 0) | (after == 0), tilted, tilted * before / after)


def turn_round(out: Tensor) -> Tensor:
    """The last row first, and each row backwards."""
    return out.flip(tuple(range(out.ndim)))


def change_first(out: Tensor) -> Tensor:
    return _add_at(out, 0)


def change_last(out: Tensor) -> Tensor:
    return _add_at(out, -1)


def cut_gradient(out: Tensor) -> Tensor:
    return out.detach()


def _add_at(out: Tensor, place: int) -> Tensor:
    if out.numel() == 0:
        return out
    change = torch.zeros(out.numel(), dtype=out.dtype)
    change[place] = 1
    change = change.view(out.shape)
    return out ^ change if out.dtype == torch.bool else out + change


ALTERED = (halve, tilt, turn_round, change_first, change_last, cut_gradient)
