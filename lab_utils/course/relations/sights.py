"""One case beside what an answer gave for it: which parts are wrong, and the numbers of its arguments by name."""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lab_utils.course.calls import Watch
from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import Case, Exercise, Parts
from lab_utils.course.relations.arguments import leaves_of, say_path
from lab_utils.course.usual_state import usual_state


@dataclass(frozen=True)
class Sight:
    """One case: what is right for it, what the answer gave, and the names of the parts that are wrong.

    `got` is None where the answer raised an error.
    """

    case: Case
    right: Parts
    got: Parts | None
    wrong: tuple[str, ...]

    @property
    def fails(self) -> bool:
        return self.got is None or bool(self.wrong) or list(self.got) != list(self.right)

    @property
    def comparable(self) -> bool:
        """Whether the parts are those that they should be."""
        return self.got is not None and list(self.got) == list(self.right)


def look(exercise: Exercise, case: Case, right: Parts, got: Parts | None) -> Sight:
    """The sight of one case."""
    wrong = [
        name
        for name, value in right.items()
        if got is not None and name in got and explain_difference(value, got[name], exercise.tolerance)
    ]
    return Sight(case, right, got, tuple(wrong))


def numbers_of(exercise: Exercise, case: Case) -> dict[str, float]:
    """The numbers and sizes of a case by their names, as code.

    A case may hold what the learner's function gets in pieces, as a text of which it is given a token at a time with a
    cache. The sizes that it has there are other ones: none that the core is not called with is named.
    """
    named = {
        name: value
        for path, value in leaves_of(exercise, case).items()
        if (name := say_path(exercise, path).strip("`"))
    }
    found = {key: each for name, value in named.items() for key, each in _numbers(name, value).items()}
    called = _numbers_of_calls(exercise, case)
    return {key: value for key, value in found.items() if called.get(key, {value}) == {value}}


def _numbers(name: str, value: Any) -> dict[str, float]:
    """A number, or the sizes of a tensor, list or text, by their names."""
    if type(value) in (int, float):
        return {name: value}
    if isinstance(value, Tensor):
        sizes: dict[str, float] = {
            f"{name}.shape[{0 if axis == -value.ndim < -1 else axis}]": value.shape[axis]
            for axis in range(-1, -value.ndim - 1, -1)
        }
        return sizes | {
            f"{name}.numel()": value.numel(),
            f"{name}.shape[:-1].numel()": value.shape[:-1].numel(),
        }
    if isinstance(value, list | tuple | str):
        return {f"len({name})": len(value)}
    return {}


_OF_CALLS: dict[int, dict[str, set[float]]] = {}  # by the id of a case, as long as there is the case


def _numbers_of_calls(exercise: Exercise, case: Case) -> dict[str, set[float]]:
    """The numbers and sizes of the arguments, in all calls of the core for a case."""
    if id(case) not in _OF_CALLS:
        found: dict[str, set[float]] = {}

        def note(method: str, made: Any, given: dict[str, Any]) -> None:
            for name, value in given.items():
                fields = value._asdict() if hasattr(value, "_asdict") else {}
                parts = {name: value} | {f"{name}.{field}": each for field, each in fields.items()}
                for key, number in (n for part in parts.items() for n in _numbers(*part).items()):
                    found.setdefault(key, set()).add(number)

        with usual_state(), contextlib.suppress(Exception):  # what is refused
            exercise.observe(Watch(note).of(exercise.core), *case.fresh_args())
        _OF_CALLS[id(case)] = found
        weakref.finalize(case, _OF_CALLS.pop, id(case), None)
    return _OF_CALLS[id(case)]
