"""On which inputs an answer is right, and on which not: by an argument that tells them apart, or by a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from lab_utils.course.exercise import Exercise
from lab_utils.course.relations.sights import Sight, numbers_of
from lab_utils.course.relations.standins import Path, leaves_of, say_path


def say_where(exercise: Exercise, judged: list[Sight]) -> str:
    """On which inputs it is right, and on which not."""
    fails = [sight for sight in judged if sight.fails]
    passes = [sight for sight in judged if not sight.fails]
    if not passes:
        return ""
    if len(fails) > 1 and len(passes) > 1 and (says := next(_splits(exercise, fails, passes), "")):
        return says
    if len(fails) == 1:
        return f"It is right on all inputs but this one: {fails[0].case.says}."
    if len(fails) <= min(4, len(passes)):
        return f"It is right on all inputs but these: {'; '.join(s.case.says for s in fails)}."
    if len(passes) <= 4:
        return f"It is wrong on all inputs but {_these(passes)}: {'; '.join(s.case.says for s in passes)}."
    return ""


def _these(sights: list[Sight]) -> str:
    return "this one" if len(sights) == 1 else "these"


def _splits(exercise: Exercise, fails: list[Sight], passes: list[Sight]) -> Iterator[str]:
    """Arguments whose value tells the inputs on which it is wrong from all others, the plainest first."""
    of_fails, of_passes = ([leaves_of(exercise, s.case) for s in group] for group in (fails, passes))
    paths = list(dict.fromkeys(path for found in [*of_fails, *of_passes] for path in found))
    for say in (_say_presence, _say_value):
        for path in paths:
            wrong, right = ({say(f, path) for f in group} for group in (of_fails, of_passes))
            if None in wrong | right or wrong & right:
                continue
            if len(wrong) == 1:
                yield f"It is wrong on the inputs where {say_path(path)} {wrong.pop()}, and right on all others."
            elif len(right) == 1:
                yield f"It is right on the inputs where {say_path(path)} {right.pop()}, and wrong on all others."
    numbers = [[numbers_of(exercise, s.case) for s in group] for group in (fails, passes)]
    for name in dict.fromkeys(n for group in numbers for found in group for n in found):
        if any(type(found.get(name)) is not int for group in numbers for found in group):
            continue
        wrong, right = ([found[name] for found in group] for group in numbers)
        # Where sizes grow together any of them would do: only what there is one of, or none, is worth a sentence.
        if max(right) <= 1 and min(wrong) > max(right) and len(set(right)) == 1:
            yield f"It is right where `{name}` is {max(right):g}, and wrong from {min(wrong):g} on."


def _say_presence(leaves: dict[Path, Any], path: Path) -> str:
    return "is not given" if leaves.get(path) is None else "is given"


def _say_value(leaves: dict[Path, Any], path: Path) -> str | None:
    """What an argument is, as the end of a sentence; None where it has no short name."""
    if path not in leaves:
        return "is not given"
    value = leaves[path]
    if isinstance(value, Tensor):
        return f"has numbers in {str(value.dtype).removeprefix('torch.')}"
    return f"is {value!r}" if isinstance(value, bool | int | float | str | None) else None
