"""Capture what goes into the modules of a model and what comes out while it runs, through forward hooks.

    with capture(model, "layers.*.mlp") as seen:
        model(tokens)
        added, routing = seen["layers.1.mlp"].output

The model is not changed, and the captured tensors are detached. At the end of the `with` block the hooks are removed
and everything captured is freed: compute what you need inside the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from nanokimi.system.refusals import nearest


@dataclass(frozen=True)
class Call:
    """One call of one module: its positional inputs and what it returned, detached, not copied."""

    inputs: tuple[Any, ...]
    output: Any


class Capture:
    """What was captured so far, by the module's name. Closed after the `with` block."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self._calls: dict[str, list[Call]] | None = {name: [] for name in names}

    def calls(self, name: str) -> tuple[Call, ...]:
        """Every call of the module since the block began, the oldest first."""
        if self._calls is None:
            raise RuntimeError("the capture is closed: read it inside the `with` block")
        if name not in self._calls:
            raise ValueError(f"{name!r} is not captured; {nearest(name, self.names)}")
        return tuple(self._calls[name])

    def __getitem__(self, name: str) -> Call:
        """The newest call of the module."""
        calls = self.calls(name)
        if not calls:
            raise ValueError(f"{name!r} has not run since the block began")
        return calls[-1]

    def _note(self, name: str, inputs: tuple[Any, ...], output: Any) -> None:
        assert self._calls is not None
        self._calls[name].append(Call(_detach(inputs), _detach(output)))

    def _close(self) -> None:
        self._calls = None


@contextmanager
def capture(model: nn.Module, *patterns: str) -> Iterator[Capture]:
    """A `Capture` of the modules whose names match one of `patterns`; `*` stands for any characters, dots included.

    Raises a `ValueError` for a pattern that no module matches.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in modules):
            raise ValueError(f"no module is called {pattern!r}; {nearest(pattern, list(modules))}")
    watched = {n: m for n, m in modules.items() if any(fnmatchcase(n, pattern) for pattern in patterns)}
    seen = Capture(tuple(watched))
    hooks = []
    try:
        for name, module in watched.items():
            hooks.append(module.register_forward_hook(_make_hook(seen, name)))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
        seen._close()


def _make_hook(seen: Capture, name: str):
    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen._note(name, inputs, output)

    return hook


def _detach(value: Any) -> Any:
    """The same tensors without their graph, inside tuples, named tuples and lists as well."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_detach, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_detach, value))
    return value
