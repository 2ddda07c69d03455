"""What an answer keeps from one call to the next: lists and the like in a class, a default argument, a global name."""

from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

KEEPERS = list, dict, set, deque, bytearray
CHANGES = (
    "A second run of the same input gives something else. Either something is kept from one call, or from one object, "
    "to the next, or it is drawn without a seed, or part of a `torch.empty` is never written: what lay in memory is "
    "still there."
)


def sizes_of_what_is_kept(answer: Callable) -> dict[str, int]:
    """The length of everything that outlives a call of the answer, by what it is."""
    return {says: len(value) for says, value in _keepers(answer) if isinstance(value, KEEPERS)}


def say_what_is_kept(before: dict[str, int], answer: Callable) -> str:
    """What has grown or shrunk since then, as a sentence; empty where nothing has."""
    changed = [says for says, n in sizes_of_what_is_kept(answer).items() if before.get(says, n) != n]
    if not changed:
        return ""
    return (
        f"What one call stores, the next one finds: {' and '.join(changed)} outlives the call. So an input may fail "
        "here by what an earlier one has left."
    )


def _keepers(answer: Callable) -> Iterator[tuple[str, Any]]:
    if isinstance(answer, type):
        for name, value in vars(answer).items():
            yield f"`{name}` of the class, which all its objects share,", value
            if isinstance(value, FunctionType):
                yield from _of_function(value)
    elif isinstance(answer, FunctionType):
        yield from _of_function(answer)


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    n_defaults = len(function.__defaults__ or ())
    code = function.__code__
    names = code.co_varnames[: code.co_argcount][code.co_argcount - n_defaults :]
    defaults = dict(zip(names, function.__defaults__ or ())) | (function.__kwdefaults__ or {})
    for name, value in defaults.items():
        yield f"the default of `{name}`, made once for all calls,", value
    for name in code.co_names:
        if name in function.__globals__:
            yield f"the global `{name}`", function.__globals__[name]
