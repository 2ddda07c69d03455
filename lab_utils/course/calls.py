"""The calls of an answer, seen from outside: with what it was called, what it returned, whether it raised the error."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

Note = Callable[[str, Any, dict[str, Any]], None]
Change = Callable[[str, Any], Any]


class Watch:
    """Watches a function, or the methods of a class; their calls of each other do not count.

    `note(method, self, arguments)` is told every call before it runs; the method of a plain function is "".
    What comes back is `change(method, returned)`.
    """

    def __init__(
        self,
        note: Note = lambda method, made, arguments: None,
        change: Change = lambda method, returned: returned,
    ):
        self._note, self._change, self._depth = note, change, 0
        self.method, self.returned, self.raised = "", None, None
        self.n_returned = 0

    def of(self, answer: Any) -> Any:
        """`answer`, watched. A class becomes one of its children."""
        if not isinstance(answer, type):
            return self._watched(answer, "")
        methods = {name: self._watched(each, name) for name, each in public_methods(answer).items()}
        return type(answer)(answer.__name__, (answer,), methods)

    def _watched(self, function: Callable, method: str) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._depth:
                return function(*args, **kwargs)
            given = _by_name(function, args, kwargs)
            self._note(method, given.pop(next(iter(given)), None) if method else None, given)
            self._depth, self.method = 1, method
            try:
                self.returned = self._change(method, function(*args, **kwargs))
            except BaseException as error:
                self.raised = error
                raise
            finally:
                self._depth = 0
            self.n_returned += method != "__init__"
            return self._each(self.returned) if isinstance(self.returned, Iterator) else self.returned

        return call

    def _each(self, values: Iterator[Any]) -> Iterator[Any]:
        """What an answer yields: its code runs while it is read."""
        try:
            yield from values
        except BaseException as error:
            self.raised = error
            raise


def public_methods(cls: type) -> dict[str, FunctionType]:
    """The public methods that a class and its parents have, torch's left out, and the constructor."""
    found: dict[str, FunctionType] = {}
    for each in cls.__mro__:
        if each is not object and each.__module__.split(".")[0] != "torch":
            found = {n: f for n, f in vars(each).items() if isinstance(f, FunctionType)} | found
    return {name: f for name, f in found.items() if name == "__init__" or not name.startswith("_")}


def _by_name(function: Callable, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by the names of the signature, or by their numbers where they do not fit it."""
    try:
        return dict(inspect.signature(function).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {f"argument {i}": arg for i, arg in enumerate(args, 1)} | kwargs
