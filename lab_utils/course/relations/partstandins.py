"""The right module with one of its parts changed: a norm that gives back what it gets, a head with other weights.

A wrong module that forgets a part, or uses one twice, gives what the core gives with that change.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import Case, Exercise
from lab_utils.course.usual_state import usual_state

Change = Callable[[nn.Module], contextlib.AbstractContextManager[None]]


def changed_cores(exercise: Exercise, cases: Sequence[Case]) -> Iterator[tuple[str, Callable]]:
    """The core with one part changed, after a clause that says how: "`norm` gives back what it gets"."""
    module = _some_module(exercise, cases)
    if module is None:
        return
    for says, change in _changes(module):
        yield says, _with_change(exercise.core, change)


class _Seen(Exception):
    """The module is known: it need not run."""


def _some_module(exercise: Exercise, cases: Sequence[Case]) -> nn.Module | None:
    """A module that the core is, or is given by its exercise: the one with the most parts."""
    core, seen = exercise.core, []

    @contextlib.contextmanager
    def note(module: nn.Module) -> Iterator[None]:
        seen.append(module)
        raise _Seen
        yield

    if isinstance(core, type) and not issubclass(core, nn.Module):
        return None
    if any(isinstance(arg, nn.Module) for case in cases for arg in case.args):
        return None
    for case in cases:
        # A module that is seen ends the run; an input that the core refuses shows none.
        with usual_state(), contextlib.suppress(Exception):
            exercise.observe(_with_change(core, note), *case.fresh_args())
        if not seen:
            return None
    return max(seen, key=lambda module: sum(1 for _ in module.named_parameters()), default=None)


def _with_change(core: Callable, change: Change) -> Callable:
    """The core, whose module is changed while it runs."""
    if isinstance(core, type):

        class Changed(core):
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                with change(self):
                    return super().forward(*args, **kwargs)

        return Changed

    @functools.wraps(core)
    def changed(*args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], nn.Module):
            return core(*args, **kwargs)
        with change(args[0]):
            return core(*args, **kwargs)

    return changed


def _changes(module: nn.Module) -> Iterator[tuple[str, Change]]:
    parts = list(dict.fromkeys(_pattern(name) for name, _ in module.named_modules() if name))
    for part in parts:
        if part == "layers" or part.count(".") > 2:
            continue
        yield f"`{part}` gives back what it gets", functools.partial(_giving, part, _given)
        if not part.endswith("norm"):
            yield f"`{part}` gives 0", functools.partial(_giving, part, _zero)
    if "layers.*" in parts:
        yield "the last of `layers` gives back what it gets", functools.partial(_giving, "layers.-1", _given)
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1 and "." not in name:
            yield f"every number of `{name}` is 1", functools.partial(_weights_from, name, "")
    weights = {_pattern(name): parameter for name, parameter in module.named_parameters()}
    for one, other in itertools.permutations(weights, 2):
        if weights[one].shape == weights[other].shape:
            says = f"`{one}` stands in the place of `{other}`"
            yield says, functools.partial(_weights_from, other, one)


def _pattern(name: str) -> str:
    """The name with `*` for every number: what is done to one layer is done to all."""
    return re.sub(r"\b\d+\b", "*", name)


def _find(module: nn.Module, part: str) -> list[nn.Module]:
    if part == "layers.-1":
        return [module.layers[-1]] if len(getattr(module, "layers", ())) else []
    return [each for name, each in module.named_modules() if _pattern(name) == part]


@contextlib.contextmanager
def _giving(part: str, what: Callable[[Any, Any], Any], module: nn.Module) -> Iterator[None]:
    """A part of the module that gives something else."""
    hooks = [
        each.register_forward_hook(lambda _, args, out: _first_replaced(out, what(args[0], out)))
        for each in _find(module, part)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _given(arg: Any, out: Any) -> Any:
    return arg


def _zero(arg: Any, out: Any) -> Any:
    first = out[0] if isinstance(out, tuple) else out
    return torch.zeros_like(first)


def _first_replaced(out: Any, new: Tensor) -> Any:
    if not isinstance(out, tuple):
        return new
    return out._replace(**{out._fields[0]: new}) if hasattr(out, "_fields") else (new, *out[1:])


@contextlib.contextmanager
def _weights_from(name: str, source: str, module: nn.Module) -> Iterator[None]:
    """Parameters with the numbers of others, or with ones."""
    parameters = dict(module.named_parameters())
    own = {each: p.data for each, p in parameters.items() if _pattern(each) == name}
    sources = [p.data for each, p in parameters.items() if _pattern(each) == source]
    for number, (each, numbers) in enumerate(own.items()):
        parameters[each].data = (
            sources[min(number, len(sources) - 1)].clone() if sources else torch.ones_like(numbers)
        )
    try:
        yield
    finally:
        for each, numbers in own.items():
            parameters[each].data = numbers
