"""One case beside what an answer gave for it: which parts are wrong, and the numbers of its arguments by name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import Case, Exercise, Parts
from lab_utils.course.relations.arguments import leaves_of, say_path


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
    """The numbers and sizes of a case by their names, as code."""
    found: dict[str, float] = {}
    for path, value in leaves_of(exercise, case).items():
        name = say_path(exercise, path).strip("`")
        if not name:
            continue
        if type(value) in (int, float):
            found[name] = value
        elif isinstance(value, Tensor):
            for axis in range(-1, -value.ndim - 1, -1):
                found[f"{name}.shape[{0 if axis == -value.ndim < -1 else axis}]"] = value.shape[axis]
            found |= {
                f"{name}.numel()": value.numel(),
                f"{name}.shape[:-1].numel()": value.shape[:-1].numel(),
            }
        elif isinstance(value, list | tuple | str):
            found[f"len({name})"] = len(value)
    return found
