"""Pieces of code without a name: what a learner's test gets in a bug hunt, so that it must try them out.

Every piece looks the same: one name, one module, one source, one class, whatever is behind it. What is behind it
stands in a table of this module, and errors say nothing of the place where they were raised.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_SHOW_ALL = {
    gc: ("get_objects", "get_referrers", "get_referents"),
    sys: ("_current_frames", "_current_exceptions"),
}
_BEHIND: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def anonymous(piece: Any) -> Any:
    """A new function, class or module that does what `piece` does.

    A class must be a module or an optimizer. An object of it has the attributes, parameters and methods of the real
    one, and changes of them count.
    """
    if isinstance(piece, nn.Module):
        cls = _class_for(type(piece))
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", vars(piece))
        return made
    return _class_for(piece) if isinstance(piece, type) else _function_for(piece)


@contextlib.contextmanager
def sources_hidden() -> Iterator[None]:
    """Meanwhile `inspect` shows no source of a piece, nor does Python show this thread what else the process holds.

    The source would be this module's; among all objects are the lists of pieces, and other threads' frames.
    """
    real, here = inspect.findsource, threading.get_ident()

    def findsource(thing: Any) -> Any:
        if inspect.getfile(thing) == __file__:
            raise OSError("the source of a piece of code is not shown: look at what it does")
        return real(thing)

    def hidden(show: Callable) -> Callable:
        def shown_to_others(*args: Any) -> Any:
            if threading.get_ident() == here:
                raise OSError("what else this process holds is not shown: look at what a piece of code does")
            return show(*args)

        return shown_to_others

    shows = [(owner, name, getattr(owner, name)) for owner, names in _SHOW_ALL.items() for name in names]
    inspect.findsource = findsource
    for owner, name, show in shows:
        setattr(owner, name, hidden(show))
    try:
        yield
    finally:
        inspect.findsource = real
        for owner, name, show in shows:
            setattr(owner, name, show)


def _function_for(piece: Callable) -> Callable:
    # Only itself is in its closure, so that nobody finds the piece there.
    def piece_of_code(*args: Any, **kwargs: Any) -> Any:
        return _call(_BEHIND[piece_of_code], args, kwargs)

    _BEHIND[piece_of_code] = piece
    return piece_of_code


def _class_for(piece: type) -> type:
    base, main = (nn.Module, "forward") if issubclass(piece, nn.Module) else (torch.optim.Optimizer, "step")

    def make(self: Any, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "__dict__", vars(_call(_BEHIND[found], args, kwargs)))

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _call(getattr(_BEHIND[found], main), (_real(found, self), *args), kwargs)

    def attribute(self: Any, name: str) -> Any:
        return _attribute(_real(found, self), name)

    def text(self: Any) -> str:
        return "PieceOfCode()"  # a module's own text shows its parts

    found = type(
        "PieceOfCode", (base,), {"__init__": make, main: run, "__getattr__": attribute, "__repr__": text}
    )
    _BEHIND[found] = piece
    return found


def _real(cls: type, made: Any) -> Any:
    """An object of the class behind `cls`, with the attributes of `made`: they share them."""
    real = object.__new__(_BEHIND[cls])
    object.__setattr__(real, "__dict__", vars(made))
    return real


def _attribute(real: Any, name: str) -> Any:
    try:
        found = getattr(real, name)
    except AttributeError:
        raise AttributeError(f"this piece of code has no attribute {name!r}") from None
    return _function_for(found) if inspect.ismethod(found) and found.__self__ is real else found


def _call(piece: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What the piece returns. An error does not say where it was raised, nor the name of what was called.

    Who traces or profiles the calls of a test does not see those of the piece.
    """
    try:
        inspect.signature(piece).bind(*args, **kwargs)
    except TypeError:
        raise TypeError("this piece of code takes other arguments") from None
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        return piece(*args, **kwargs)
    except Exception as error:
        raise error.with_traceback(None) from None
    finally:
        sys.settrace(trace)
        sys.setprofile(profile)
