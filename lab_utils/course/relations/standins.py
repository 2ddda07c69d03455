"""What the right function gives for other arguments: does a wrong answer give that?

An answer that forgets `scale` gives what is right for a scale of 1; one that cuts too late what is right for another
number of tokens. So the core runs on each case with one argument replaced, and what comes out is compared.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case, Exercise, Parts
from lab_utils.course.relations.arguments import Path, argument_names, equal, is_known, leaves_of, say_path
from lab_utils.course.relations.partstandins import changed_cores
from lab_utils.course.usual_state import usual_state

ABSENT = object()  # stands for an argument that is left to its default, or a setting that is not given


class StandIns:
    """What the core gives for the cases of an exercise with one argument replaced; computed when first needed."""

    def __init__(self, exercise: Exercise, cases: Sequence[Case], seconds: float = 2.0):
        self.exercise, self.cases, self.seconds = exercise, cases, seconds
        self._runs = [
            *(
                (says, functools.partial(_run_with, exercise, of))
                for says, of in _all_changes(exercise, cases)
            ),
            *(
                (says, functools.partial(run, exercise, core))
                for says, core in changed_cores(exercise, cases)
            ),
        ]
        self._found: dict[tuple[int, int], Parts | None] = {}

    def find(self, agrees: Callable[[int, Parts | None], bool], numbers: Sequence[int]) -> str:
        """The first change that `agrees` for the cases of these numbers, as a clause; empty where there is none.

        `agrees` gets the number of a case, and what the core gives for it with the change: empty where the case stays
        what it was, None where the core refuses it. The search ends after some seconds: models are slow.
        """
        end = time.monotonic() + self.seconds
        for which, (says, _) in enumerate(self._runs):
            if time.monotonic() > end:
                break
            if all(agrees(number, self._parts(which, number)) for number in numbers):
                return says
        return ""

    def _parts(self, which: int, number: int) -> Parts | None:
        if (which, number) not in self._found:
            self._found[which, number] = self._runs[which][1](self.cases[number])
        return self._found[which, number]


def _all_changes(
    exercise: Exercise, cases: Sequence[Case]
) -> Iterator[tuple[str, Callable[[Case], Case | None]]]:
    """Changes of one argument: a clause that says it, and the case with it, or None where it is no change."""
    leaves, is_module = [leaves_of(exercise, case) for case in cases], isinstance(exercise.core, type)
    for path in dict.fromkeys(path for found in leaves for path in found):
        if not is_known(exercise, path):
            continue
        values = [found[path] for found in leaves if path in found]
        if is_module and (len(path) > 2 or isinstance(values[0], Tensor)):
            continue
        # A field that is the same in all cases is not what an exercise is about.
        if len(path) > 1 and len(values) == len(cases) and all(equal(value, values[0]) for value in values):
            continue
        for says, of in _changes(values, with_arithmetic=not is_module or len(path) == 1):
            yield says.format(say_path(exercise, path)), functools.partial(_with, exercise, path, of)
    names = argument_names(exercise)
    for i, j in itertools.combinations([n for n, name in enumerate(names) if is_known(exercise, (name,))], 2):
        yield f"`{names[i]}` and `{names[j]}` are exchanged", functools.partial(_exchanged, i, j)


def _changes(values: list[Any], with_arithmetic: bool) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """What may stand in for one argument, the plainest first."""
    yield "{} is left out", lambda value: ABSENT
    kinds = {type(value) for value in values}
    plain = [value for value in values if isinstance(value, bool | int | float | str | None)]
    for value in dict.fromkeys((type(v), v) for v in [True, False, 0, 1, 0.0, 1.0, *plain]):
        if value[0] in kinds:
            yield f"{{}} is {value[1]!r}", functools.partial(_always, kinds, value[1])
    if with_arithmetic and any(type(value) in (int, float) for value in values):
        numbers: dict[str, Callable[[Any], Any]] = {
            "{} is one larger": lambda n: n + 1,
            "{} is one smaller": lambda n: n - 1,
            "{} is twice as large": lambda n: n * 2,
            "{} is half as large": lambda n: n // 2 if isinstance(n, int) else n / 2,
            "1/{0} stands in the place of {0}": lambda n: 1 / n if isinstance(n, float) else n,
            "sqrt({0}) stands in the place of {0}": lambda n: n**0.5 if isinstance(n, float) else n,
            "{0}² stands in the place of {0}": lambda n: n**2 if isinstance(n, float) else n,
            "-{0} stands in the place of {0}": lambda n: -n,
            "1 - {0} stands in the place of {0}": lambda n: 1 - n,
        }
        for says, of in numbers.items():
            yield says, lambda old, of=of: of(old) if type(old) in (int, float) else old
    if any(isinstance(value, Tensor) for value in values):
        for says, of in _TENSOR_CHANGES.items():
            yield says, lambda old, of=of: of(old) if isinstance(old, Tensor) else old


def _always(kinds: set[type], new: Any, old: Any) -> Any:
    return new if type(old) in kinds else old


def _halves(x: Tensor, axis: int) -> Tensor:
    return x.roll(x.shape[axis] // 2, axis) if x.shape[axis] % 2 == 0 else x


def _interleaved(x: Tensor, axis: int) -> Tensor:
    """The entries 0, 2, 4, ..., then 1, 3, 5, ..."""
    n = x.shape[axis]
    return x.index_select(axis, torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2)]))


def _float(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: of(x) if x.is_floating_point() or x.is_complex() else x


_TENSOR_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "every number of {} is 0": torch.zeros_like,
    "every number of {} is 1": torch.ones_like,
    "{} has the other sign": lambda x: x if x.dtype == torch.bool else -x,
    "True and False are exchanged in {}": lambda x: ~x if x.dtype == torch.bool else x,
    "{} is rounded to bfloat16": lambda x: x.bfloat16().to(x.dtype) if x.is_floating_point() else x,
    "{} is rounded to float32": lambda x: x.float().to(x.dtype) if x.is_floating_point() else x,
    "{} stands in the opposite order along its last axis": lambda x: x.flip(-1),
    "{} stands in the opposite order along its first axis": lambda x: x.flip(0),
    "{} stands in the opposite order along axis -2": lambda x: x.flip(-2),
    "{} stands in the opposite order along axis -3": lambda x: x.flip(-3),
    "{} is moved by one place along its first axis": lambda x: x.roll(1, 0),
    "{} is moved back by one place along its first axis": lambda x: x.roll(-1, 0),
    "{} is moved by one place along its last axis": lambda x: x.roll(1, -1),
    "{} is moved back by one place along its last axis": lambda x: x.roll(-1, -1),
    "all entries of {} along its first axis are the first one": lambda x: x[:1].expand_as(x).clone(),
    "the two halves of {} are exchanged along its first axis": lambda x: _halves(x, 0),
    "the two halves of {} are exchanged along its last axis": lambda x: _halves(x, -1),
    "the two halves of {} are exchanged along axis -2": lambda x: _halves(x, -2),
    "{} is ordered as entries 0, 2, 4, ..., then 1, 3, 5, ... along its first axis": lambda x: _interleaved(x, 0),
    "{} is ordered as entries 0, 2, 4, ..., then 1, 3, 5, ... along its last axis": lambda x: _interleaved(x, -1),
    "the last two axes of {} are exchanged": lambda x: x.mT if x.shape[-1] == x.shape[-2] else x,
    "{} has gone through a softmax over its last axis": _float(lambda x: x.softmax(-1)),
    "{} has gone through a logarithm": _float(lambda x: x.log()),
    "{} has gone through a sigmoid": _float(lambda x: x.sigmoid()),
    "the mean of {} over its last axis is subtracted": _float(lambda x: x - x.mean(-1, keepdim=True)),
    "{} has the sign of its numbers lost": _float(lambda x: x if x.is_complex() else x.abs()),
    "{} has turned the other way": lambda x: x.conj() if x.is_complex() else x,
    "only the real part of {} is there": lambda x: x.real + 0j if x.is_complex() else x,
}  # fmt: skip


def _exchanged(i: int, j: int, case: Case) -> Case | None:
    if max(i, j) >= len(case.args):
        return None
    args = list(case.args)
    args[i], args[j] = args[j], args[i]
    one, other = args[i], args[j]
    if type(one) is not type(other) or (isinstance(one, Tensor) and one.shape != other.shape):
        return None
    return Case(case.says, tuple(args))


def _with(exercise: Exercise, path: Path, of: Callable[[Any], Any], case: Case) -> Case | None:
    """The case with one argument replaced; None where it stays what it was or cannot be replaced."""
    names = argument_names(exercise)
    if path[0] in names:
        number = names.index(path[0])
    elif match := re.fullmatch(r"argument (\d+)", path[0]):
        number = int(match[1]) - 1
    else:
        return None
    if number >= len(case.args):
        return None
    args = list(case.fresh_args())
    try:
        new = _replaced(args[number], path[1:], of)
    except Exception:  # a value that the configuration refuses, or a change that this tensor does not allow
        return None
    if new is ABSENT:
        args = args[:number] if number == len(args) - 1 else None
    elif new is _UNCHANGED:
        return None
    else:
        args[number] = new
    return None if args is None else Case(case.says, tuple(args))


_UNCHANGED = object()


def _replaced(value: Any, path: Path, of: Callable[[Any], Any]) -> Any:
    if not path:
        new = of(value)
        if new is ABSENT:
            return new
        if isinstance(new, Tensor):
            return _UNCHANGED if torch.equal(new.nan_to_num(), value.nan_to_num()) else new
        return _UNCHANGED if type(new) is type(value) and new == value else new
    name, rest = path[0], path[1:]
    if isinstance(value, dict):
        if name not in value:
            return _UNCHANGED
        new = _replaced(value[name], rest, of)
        if new is ABSENT:
            return {key: each for key, each in value.items() if key != name}
        return new if new is _UNCHANGED else value | {name: new}
    new = _replaced(getattr(value, name), rest, of)
    if new is _UNCHANGED:
        return new
    if new is ABSENT:
        default = next(each.default for each in dataclasses.fields(value) if each.name == name)
        if default is dataclasses.MISSING or default == getattr(value, name):
            return _UNCHANGED
        new = default
    return dataclasses.replace(value, **{name: new})


def _run_with(exercise: Exercise, change: Callable[[Case], Case | None], case: Case) -> Parts | None:
    """What the core gives for a changed case; empty where the case is not changed."""
    changed = change(case)
    return {} if changed is None else run(exercise, exercise.core, changed)


def run(exercise: Exercise, core: Callable, case: Case) -> Parts | None:
    """What the core, or one with a part changed, gives for a case; None where it refuses it."""
    with usual_state():
        try:
            return exercise.observe(core, *case.fresh_args())
        except Exception:  # of any kind: a core with a part changed may fail anywhere
            return None
