"""What a module gave in one run: its output, and the facts of every router that ran.

Both are found by shape and by the names that are usual in the field, without knowing a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn


class Routing(NamedTuple):
    """One router's facts in one run, and the layer that returned them (None in a plain function)."""

    stats: Any  # has expert_idx (..., K) and weights (..., K)
    layer: nn.Module | None
    name: str
    out: Tensor | None  # the layer's own output, where it returns one beside the facts

    @property
    def expert_idx(self) -> Tensor:
        return self.stats.expert_idx.flatten(0, -2)

    @property
    def weights(self) -> Tensor:
        return self.stats.weights.flatten(0, -2)

    def n_experts(self) -> int:
        """E: the width of the scores or logits, or else the layer's own number, or else the largest index + 1."""
        for name in ("scores", "logits"):
            if isinstance(found := getattr(self.stats, name, None), Tensor):
                return found.shape[-1]
        named = named_number(self.layer, "n_routed_experts", "n_experts", "num_experts")
        return named or int(self.expert_idx.max()) + 1


class Answer(NamedTuple):
    """What a run gave: one vector per token, and the facts of every router that ran."""

    out: Tensor  # batch x seq x channels
    routing: tuple[Routing, ...]


def named_number(holder: Any, *names: str) -> int | None:
    """The first whole number of one of these names, on the module itself or on its configuration."""
    for place in (holder, getattr(holder, "cfg", None), getattr(holder, "config", None)):
        for name in names:
            if isinstance(value := getattr(place, name, None), int):
                return value
    return None


def tensor_in(returned: Any) -> Tensor | None:
    """The output in a returned value: `logits`, `out`, `last_hidden_state` or the first tensor."""
    if isinstance(returned, Tensor):
        return returned
    for name in ("logits", "out", "last_hidden_state"):
        value = returned.get(name) if isinstance(returned, dict) else getattr(returned, name, None)
        if isinstance(value, Tensor):
            return value
    if isinstance(returned, tuple | list):
        return next((item for item in returned if isinstance(item, Tensor)), None)
    return None


def facts_in(returned: Any) -> Iterator[Any]:
    """Every object in a returned value that has the chosen experts and their weights."""
    if isinstance(getattr(returned, "expert_idx", None), Tensor):
        if isinstance(getattr(returned, "weights", None), Tensor):
            yield returned
    elif isinstance(returned, tuple | list):
        for item in returned:
            yield from facts_in(item)
    elif isinstance(returned, dict):
        yield from facts_in(list(returned.values()))


class watch:
    """A list of what the routers of a model return while the `with` block runs it.

    Where several layers return the same facts, the innermost one counts.
    """

    def __init__(self, model: Any):
        self.modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        self.seen: list[Routing] = []
        self.handles: list[Any] = []

    def __enter__(self) -> list[Routing]:
        for name, module in self.modules.items():
            self.handles.append(module.register_forward_hook(self._hook(name)))
        return self.seen

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(module: nn.Module, args: tuple, returned: Any) -> None:
            for stats in facts_in(returned):
                out = None if stats is returned else tensor_in(returned)
                known = next((i for i, old in enumerate(self.seen) if old.stats is stats), None)
                if known is None:
                    self.seen.append(Routing(stats, module, name, out))
                elif self.seen[known].out is None and out is not None:
                    # A router that is a module of its own returns no output; the layer around it does.
                    self.seen[known] = Routing(stats, module, name, out)

        return keep
