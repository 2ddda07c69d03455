"""On which inputs an answer is right, and on which not: by an argument that tells them apart, or by a list."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from lab_utils.course.exercise import Exercise
from lab_utils.course.formats import formats_of
from lab_utils.course.relations.arguments import Path, leaves_of, say_path
from lab_utils.course.relations.sights import Sight, numbers_of


def say_where(exercise: Exercise, judged: list[Sight]) -> str:
    """On which inputs it is right, and on which not."""
    fails = [sight for sight in judged if sight.fails]
    passes = [sight for sight in judged if not sight.fails]
    asked = [sight for sight in passes if _shows(sight, fails)]
    if not asked:
        return ""
    if len(fails) > 1 and len(passes) > 1 and (says := next(_splits(exercise, fails, passes), "")):
        return says
    # Inputs that ask for nothing of what is wrong may belong to either side of an argument.
    if (
        len(fails) > 1
        and 1 < len(asked) < len(passes)
        and (says := next(_splits(exercise, fails, asked), ""))
    ):
        wrong = " or ".join(dict.fromkeys(_quote(name) for sight in fails for name in sight.wrong))
        says = says.replace("on the inputs where", "where")
        return f"Of the inputs that ask for {wrong}: {says[0].lower()}{says[1:]}"
    if len(fails) == 1:
        return f"It is right on all inputs but this one: {fails[0].case.says}."
    if len(fails) <= min(4, len(passes)):
        return f"It is right on all inputs but these: {'; '.join(s.case.says for s in fails)}."
    if len(passes) <= 4:
        return f"It is wrong on all inputs but {_these(passes)}: {'; '.join(s.case.says for s in passes)}."
    return ""


def _quote(part: str) -> str:
    return "numbers" if part == "result" else f"“{part}”"


def _shows(right: Sight, fails: list[Sight]) -> bool:
    """Whether an input asks for a part that is wrong elsewhere: where none is asked for, nothing is right about it."""
    if not all(sight.comparable for sight in fails):
        return True
    return any(name in right.right for sight in fails for name in sight.wrong)


def say_how_many(judged: list[Sight]) -> str:
    """On which inputs it is right, where nothing else is known."""
    passes = [sight.case.says for sight in judged if not sight.fails]
    if not passes:
        numbers = all(s.comparable and s.got and formats_of(s.got) == formats_of(s.right) for s in judged)
        return f"It is wrong on each of the {len(judged)} inputs." if numbers and len(judged) > 1 else ""
    fails = [sight.case.says for sight in judged if sight.fails]
    few, word = (passes, "right") if len(passes) <= len(fails) else (fails, "wrong")
    more = f"; and {len(few) - 6} more" if len(few) > 6 else ""
    return f"It is {word} on {len(few)} of {len(judged)} inputs: {'; '.join(few[:6])}{more}."


def _these(sights: list[Sight]) -> str:
    return "this one" if len(sights) == 1 else "these"


def _splits(exercise: Exercise, fails: list[Sight], passes: list[Sight]) -> Iterator[str]:
    """Arguments whose value tells the inputs on which it is wrong from all others, the plainest first."""
    of_fails, of_passes = ([leaves_of(exercise, s.case) for s in group] for group in (fails, passes))
    paths = list(dict.fromkeys(path for found in [*of_fails, *of_passes] for path in found))
    named = {path: name for path in paths if (name := say_path(exercise, path))}
    yield from _equal_numbers(named, of_fails, of_passes)
    for say in (_say_presence, _say_value):
        for path, name in named.items():
            said = [[say(leaves, path) for leaves in group] for group in (of_fails, of_passes)]
            wrong, right = ([each for each in group if each is not None] for group in said)
            if [wrong, right] != said or set(wrong) & set(right):
                continue
            if _is_telling(wrong, right):
                yield f"It is wrong on the inputs where {name} {wrong[0]}, and right on all others."
            elif _is_telling(right, wrong):
                yield f"It is right on the inputs where {name} {right[0]}, and wrong on all others."
    numbers = [[numbers_of(exercise, s.case) for s in group] for group in (fails, passes)]
    for name in dict.fromkeys(n for group in numbers for found in group for n in found):
        if any(type(found.get(name)) is not int for group in numbers for found in group):
            continue
        wrong, right = ([found[name] for found in group] for group in numbers)
        # Where sizes grow together any of them would do: only what there is one of, or none, is worth a sentence.
        if max(right) <= 1 and min(wrong) > max(right) and len(set(right)) == 1:
            # Of other sizes nothing is known.
            tried = " or ".join(f"{size:g}" for size in sorted(set(wrong)))
            if len(set(wrong)) <= 4:
                yield f"It is right on the inputs where `{name}` is {max(right):g}, and wrong where it is {tried}."


def _is_telling(ones: list[str], others: list[str]) -> bool:
    """Whether one value marks a group of inputs. A number of few inputs, or other than 0 and 1, is a coincidence."""
    if len(set(ones)) > 1:
        return False
    value = ones[0].removeprefix("is ")
    is_number = value[:1] in tuple("-.0123456789")
    return not is_number or (float(value) in (0, 1) and len(ones) > 2 and len(set(others)) > 1)


def _equal_numbers(named: dict[Path, str], fails: list[dict], passes: list[dict]) -> Iterator[str]:
    """Two whole numbers that are equal on the inputs where it is right, or wrong, and on no others."""
    whole = [path for path in named if all(type(leaves.get(path)) is int for leaves in [*fails, *passes])]
    for one, other in itertools.combinations(whole, 2):
        for same, rest, word, else_ in ((passes, fails, "right", "wrong"), (fails, passes, "wrong", "right")):
            several = len({leaves[one] for leaves in same}) > 1
            if (
                several
                and all(leaves[one] == leaves[other] for leaves in same)
                and all(leaves[one] != leaves[other] for leaves in rest)
            ):
                where = f"where {named[one]} is {named[other]}"
                yield f"It is {word} on the inputs {where}, and {else_} where they differ."


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
