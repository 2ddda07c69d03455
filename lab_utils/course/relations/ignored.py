"""An argument that an answer does not use: it gives the same for inputs that differ in it alone."""

from __future__ import annotations

import itertools
from typing import Any

from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import Exercise, Parts
from lab_utils.course.relations.arguments import Path, equal, leaves_of, say_path
from lab_utils.course.relations.sights import Sight


def say_ignored(exercise: Exercise, seen: list[Sight]) -> str:
    """That inputs which differ in this argument alone give the same, where they should not, and never anything else."""
    leaves = [leaves_of(exercise, sight.case) for sight in seen]
    found: dict[Path, list[tuple[int, int]]] = {}
    read: set[Path] = set()
    clearly = min(100 * exercise.tolerance, 0.05)
    for i, one in enumerate(seen):
        for j, other in enumerate(seen[:i]):
            path = _only_difference(leaves[i], leaves[j])
            if path is None or one.got is None or other.got is None or list(one.right) != list(other.right):
                continue
            if _differ(one.got, other.got, 1e-9):
                read.add(path)
            elif _differ(one.right, other.right, clearly):
                found.setdefault(path, []).append((i, j))
    names = [say_path(exercise, path) for path, same in found.items() if path not in read and _is_often(same)]
    named = next(filter(None, names), "")
    return f"It gives the same for two inputs that differ in {named} alone; it should not." if named else ""


def _is_often(pairs: list[tuple[int, int]]) -> bool:
    """Whether inputs have the same result more than once: in two pairs that share no input, or in three of each other.

    Once may be by chance, in a choice of experts that another bias does not change, or by rounding two numbers to one.
    """
    apart = any(not {*one} & {*other} for one, other in itertools.combinations(pairs, 2))
    numbers = sorted({number for pair in pairs for number in pair}, reverse=True)
    return apart or any(
        {(one, other), (one, third), (other, third)} <= set(pairs)
        for one, other, third in itertools.combinations(numbers, 3)
    )


def _only_difference(one: dict[Path, Any], other: dict[Path, Any]) -> Path | None:
    different = [
        path
        for path in {**one, **other}
        if path not in one or path not in other or not equal(one[path], other[path])
    ]
    return different[0] if len(different) == 1 else None


def _differ(one: Parts, other: Parts, tolerance: float) -> bool:
    return list(one) != list(other) or any(
        explain_difference(one[name], other[name], tolerance) for name in one
    )
