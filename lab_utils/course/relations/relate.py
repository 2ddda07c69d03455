"""What is true of a wrong answer that nobody foresaw, in sentences: "it is right but for a factor of 2".

Each sentence is computed from what the answer gave on the judged cases, so it holds there. It says nothing of causes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.differences import explain_difference
from lab_utils.course.exercise import REFUSED, TEST, Case, Exercise, Parts
from lab_utils.course.inputs import by_size
from lab_utils.course.relations.arguments import leaves_of, name_arguments, say_path
from lab_utils.course.relations.ignored import say_ignored
from lab_utils.course.relations.likeness import Pair, liken
from lab_utils.course.relations.sights import Sight, look, numbers_of
from lab_utils.course.relations.standins import StandIns
from lab_utils.course.relations.where import say_how_many, say_where


def relate(
    others: StandIns, expected: Sequence[Parts | None], got: Sequence[Parts | None]
) -> tuple[str, ...]:
    """What holds for a failed answer, the most telling first; one value of `expected` and `got` for each case."""
    exercise, cases = others.exercise, others.cases
    if exercise.is_hunt:
        return _relate_test(cases, expected, got)
    seen = [look(exercise, case, right, its) for case, right, its in zip(cases, expected, got, strict=True)]
    judged = [sight for sight in seen if sight.case.judged]
    failing = [sight for sight in judged if sight.fails]
    of_tensors = [sight for sight in failing if any(isinstance(v, Tensor) for v in sight.right.values())]
    # What a text ignores is beside the point.
    if not failing or (of_tensors and all(map(_is_no_tensor, of_tensors))):
        return ()
    if says := _other_arguments(others, seen):
        return (says,)
    lost = _lost_gradients(exercise, judged)
    found = [
        say_ignored(exercise, seen),
        lost or _parts(exercise, judged),
        "" if lost else _likeness(exercise, judged),
        say_where(exercise, judged),
    ]
    return tuple(says for says in found if says) or tuple(filter(None, [say_how_many(judged)]))


def _is_no_tensor(sight: Sight) -> bool:
    """Whether something else, neither an error nor a refusal, stands where tensors should."""
    if not sight.got:
        return False
    if list(sight.got) != list(sight.right):
        values = [value for name, value in sight.got.items() if not name.startswith("gradient of ")]
        return not any(isinstance(value, Tensor) or value == REFUSED for value in values)
    return any(
        isinstance(right, Tensor) and not isinstance(its := sight.got[name], Tensor) and its != REFUSED
        for name, right in sight.right.items()
    )


# ---------------------------------------------------------------- other arguments


def _other_arguments(others: StandIns, seen: list[Sight]) -> str:
    """The answer gives on every input what is right for another argument."""
    exercise, judged = others.exercise, [i for i, sight in enumerate(seen) if sight.case.judged]
    failing = [seen[i] for i in judged if seen[i].fails]
    if not all(seen[i].comparable for i in judged) or not _is_much(failing):
        return ""
    part = _first_wrong_part(failing)
    # The smallest failing case tells most changes apart, at the least cost.
    ordered = sorted(judged, key=lambda i: (not seen[i].fails, by_size(seen[i].case.args)))
    says = others.find(lambda i, parts: _gives(exercise, parts, seen[i], part), ordered)
    return f"{_say_part(exercise, part)} is on every input what is right where {says}." if says else ""


def _is_much(failing: list[Sight]) -> bool:
    """Whether there is enough that is wrong: what explains one small number explains it by accident."""
    return len(failing) > 1 or any(
        isinstance(value := sight.right[name], Tensor) and value.numel() > 3
        for sight in failing
        for name in sight.wrong
    )


def _gives(exercise: Exercise, parts: Parts | None, sight: Sight, part: str) -> bool:
    """Whether the answer gave these parts, what is no gradient at least."""
    if parts is None or sight.got is None:
        return False
    if not parts:
        return not sight.fails
    names = [
        name for name in sight.got if name in parts and (name == part or not name.startswith("gradient"))
    ]
    return part in names and not any(
        explain_difference(parts[name], sight.got[name], exercise.tolerance) for name in names
    )


# ---------------------------------------------------------------- parts


def _first_wrong_part(failing: list[Sight]) -> str:
    names = list(dict.fromkeys(name for sight in failing for name in sight.right if name in sight.wrong))
    return min(names, key=lambda name: name.startswith("gradient"), default="")


def _say_part(exercise: Exercise, name: str) -> str:
    if name == "result":
        return "The result"
    name = name_arguments(exercise, name)
    return f"The {name.removeprefix('the ')}" if name.startswith("gradient") else f"Its part “{name}”"


def _parts(exercise: Exercise, judged: list[Sight]) -> str:
    """Which parts are right on every input, where others are not."""
    if not all(sight.comparable for sight in judged):
        return ""
    wrong = list(dict.fromkeys(name for sight in judged for name in sight.wrong))
    right = [name for name in dict.fromkeys(n for s in judged for n in s.right) if name not in wrong]
    if not right or not wrong:
        return ""
    if all(name.startswith("gradient") for name in wrong):
        others = [name for name in right if name.startswith("gradient")]
        named = _name_gradients(exercise, wrong)
        also = ", and all others are" if others else ""
        return f"The result is right on every input; the gradient of {named} is not{also}."
    # A part that not every failing input has may be right only where it asks for less.
    beside = {name for name in right if all(_is_content(s.right.get(name)) for s in judged if s.wrong)}
    values = [f"“{name}”" for name in wrong if not name.startswith("gradient")]
    fine = [f"“{name}”" for name in right if not name.startswith("gradient") and name in beside]
    if not fine or len(values) + len(fine) > 12:
        return ""
    are = "is" if len(values) == 1 else "are"
    return f"{', '.join(values)} {are} wrong. Right on every input: {', '.join(fine)}."


def _is_content(value: Any) -> bool:
    """Whether a part is what was computed, not what it cost or where it lies."""
    return isinstance(value, Tensor) or (
        isinstance(value, list) and not all(isinstance(each, str) for each in value)
    )


def _is_cost(value: Any) -> bool:
    """Whether a part is one whole number: what an answer cost, or stored, which its first sentence says."""
    return type(value) is int


def _lost_gradients(exercise: Exercise, judged: list[Sight]) -> str:
    """That gradients are 0, and all else is right."""
    wrong = list(dict.fromkeys(name for sight in judged for name in sight.wrong))
    if not all(sight.comparable for sight in judged) or not all(n.startswith("gradient") for n in wrong):
        return ""
    if any(torch.as_tensor(sight.got[name]).any() for sight in judged for name in sight.wrong if sight.got):
        return ""
    named = _name_gradients(exercise, wrong)
    return f"The result is right on every input, but no gradient goes back to {named}: it is 0."


def _name_gradients(exercise: Exercise, wrong: list[str]) -> str:
    return ", ".join(_say_part(exercise, name).removeprefix("The gradient of ") for name in wrong)


def _likeness(exercise: Exercise, judged: list[Sight]) -> str:
    """What relates a wrong part to the right one."""
    failing = [sight for sight in judged if sight.fails]
    if not all(sight.comparable for sight in failing):
        return ""
    if says := _exchanged_parts(failing):
        return says
    pooled = [
        (s, name) for s in failing for name in s.wrong if name == "result" or not _is_cost(s.right[name])
    ]
    pooled = [(s, name) for s, name in pooled if not _follows(name, s)]
    names = sorted(dict.fromkeys(name for _, name in pooled), key=lambda name: name.startswith("gradient"))
    groups = [(_say_part(exercise, each), [(s, n) for s, n in pooled if n == each]) for each in names]
    shown = min(failing, key=lambda sight: by_size(sight.case.args))
    groups.sort(key=lambda group: all(sight is not shown for sight, _ in group[1]))
    if len(names) > 1 and not any(name.startswith("gradient") for name in names):
        groups.append(("Each wrong part", pooled))
    for subject, chosen in groups:
        # Where values are wrong, gradients differ everywhere: only a factor, or 0, says something.
        plainly = chosen[0][1].startswith("gradient") and not names[0].startswith("gradient")
        if says := liken([_pair(exercise, sight, name) for sight, name in chosen], plainly):
            where = _say_where_of(list({id(s): s for s, _ in chosen}.values()), shown, len(judged))
            return f"{subject}, {where}: {says}."
    return ""


def _follows(name: str, sight: Sight) -> bool:
    """Whether a part is what comes after others, of which some are wrong: it need not have a fault of its own."""
    return _is_after(name) and any(
        not _is_after(each) and not each.startswith("gradient") for each in sight.wrong
    )


def _is_after(name: str) -> bool:
    return any(word in ("after", "afterwards") for word in name.split())


def _say_where_of(sights: list[Sight], shown: Sight, n_judged: int) -> str:
    """Where a clause holds: with the names of the cases, where the one that the panel shows is none of them."""
    if len(sights) == n_judged:
        return "on every input"
    if any(sight is shown for sight in sights):
        return "wherever it is wrong"
    more = f"; and {len(sights) - 3} more" if len(sights) > 3 else ""
    return f"where it is wrong ({'; '.join(sight.case.says for sight in sights[:3])}{more})"


def _exchanged_parts(failing: list[Sight]) -> str:
    """Two parts that stand in each other's place."""
    names = list(failing[0].right)
    for one, other in itertools.combinations(names, 2):
        if all(_holds_what_belongs(s, one, other) and _holds_what_belongs(s, other, one) for s in failing):
            return f"“{one}” and “{other}” are exchanged."
    return ""


def _holds_what_belongs(sight: Sight, one: str, other: str) -> bool:
    return (
        sight.got is not None
        and {one, other} <= sight.right.keys()
        and one in sight.wrong
        and not explain_difference(sight.right[other], sight.got[one], 1e-5)
    )


def _pair(exercise: Exercise, sight: Sight, name: str) -> Pair:
    assert sight.got is not None
    leaves = leaves_of(exercise, sight.case).items()
    tensors = {
        say_path(exercise, path).strip("`"): value for path, value in leaves if isinstance(value, Tensor)
    }
    plain = {each: value for each, value in tensors.items() if each and value.is_floating_point()}
    sizes = numbers_of(exercise, sight.case)
    for each, value in plain.items():
        if value.numel():
            sizes |= {f"{each}.mean()": float(value.mean()), f"{each}.sum()": float(value.sum())}
    return Pair(sight.right[name], sight.got[name], sizes, plain, exercise.tolerance)


# ---------------------------------------------------------------- tests


def _relate_test(
    cases: Sequence[Case], expected: Sequence[Parts], got: Sequence[Parts | None]
) -> tuple[str, ...]:
    """What a test says of all pieces together."""
    if any(its is None or its.get(TEST) == "changes" for its, case in zip(got, cases) if case.judged):
        return ()
    lets = [its == {TEST: "passes"} for its in got]
    judged = [i for i, case in enumerate(cases) if case.judged]
    beside = [i for i in range(len(cases)) if i not in judged and lets[i]]
    more = [cases[i].says for i in beside if expected[i] != {TEST: "passes"}]
    kept = [cases[i].says for i in beside if expected[i] == {TEST: "passes"}]
    if not any(lets[i] for i in judged):
        passes = f" It passes for others, which are wrong: {_some(more)}." if more else ""
        if kept:
            return (
                f"Of the pieces by which it is judged it passes for none; beside them for {_some(kept)}.{passes}",
            )
        return (
            f"Your test refuses all pieces by which it is judged, the sound ones as well as the broken ones.{passes}",
        )
    if all(lets[i] for i in judged):
        also = f" It passes for others too, which are wrong: {_some(more)}." if more else ""
        return (
            "Your test passes for all pieces by which it is judged, the broken ones as well as the sound "
            f"ones.{also}",
        )
    wrong = [i for i in judged if lets[i] != (expected[i] == {TEST: "passes"})]
    through, refused = [i for i in wrong if lets[i]], [i for i in wrong if not lets[i]]
    if len(wrong) == len(judged):
        return (
            "Your test is upside down. It refuses every sound piece, and passes for all broken ones by which it is "
            "judged.",
        )
    found = []
    for numbers, kind, verb in ((through, "broken", "lets through"), (refused, "sound", "refuses")):
        if len(numbers) > 1:
            names = "; ".join(cases[i].says for i in numbers)
            found.append(f"Of the {kind} pieces by which it is judged it {verb} {len(numbers)}: {names}.")
    if len(wrong) == 1:
        found.append("It is right about all other pieces by which it is judged.")
    return tuple(found)


def _some(names: list[str]) -> str:
    return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
