"""Where a number is not finite, NaN or infinite: in weights, gradients and the outputs of layers, told by name."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from nanokimi import ranks
from nanokimi.system.refusals import require


class NotFiniteError(ValueError):
    """A number that must be finite is not: one line that says which."""


@torch.no_grad()
def all_finite(model: nn.Module) -> bool:
    """Whether all weights and experts' biases are finite numbers. Reads them once, and waits once for the device."""
    return bool(largest_weight(model).isfinite())


def largest_weight(model: nn.Module) -> Tensor:
    """The largest absolute value of all weights and experts' biases, as a tensor; NaN where one of them is NaN.

    With several ranks it is that of all of them, and infinite where one is NaN.
    """
    tensors = [own for _, tensor in _weights(model) if (own := ranks.own(tensor.detach())).numel()]
    if tensors[0].device.type == "cpu":
        # There the norm below takes two to three times as long.
        largest = torch.stack([end for tensor in tensors for end in tensor.aminmax()]).abs().max()
    else:
        largest = torch.nn.utils.get_total_norm(tensors, float("inf"))
    return ranks.maxima(largest)


def check_held(model: nn.Module) -> None:
    """Raise `ConfigError` for a model on the device meta, which has shapes and no numbers."""
    where = "the model is on the device meta, where it has shapes and no weights"
    require(
        not any(t.is_meta for _, t in _weights(model)), f"{where}: build it outside of torch.device('meta')"
    )


def check_trainable(model: nn.Module) -> None:
    """Raise `ConfigError` for a model that no step can change."""
    check_held(model)
    made = (
        "the model was made in torch.inference_mode(), where nothing can be trained: build it outside of it"
    )
    require(not any(t.is_inference() for _, t in _weights(model)), made)
    frozen = "no weight of the model can be trained: requires_grad is False for all of them"
    require(any(p.requires_grad for p in model.parameters()), frozen)


def check_weights(model: nn.Module) -> None:
    """Raise `NotFiniteError` with the name of the first weight that is not finite; `ConfigError` as `check_held`."""
    check_held(model)
    if not all_finite(model):
        raise NotFiniteError(f"the weight {name_first(_weights(model))} is not finite")


@torch.no_grad()
def name_first(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """The name of the first tensor with a number that is not finite; empty where there is none."""
    return next((name for name, tensor in tensors if not ranks.whole(tensor).isfinite().all()), "")


@torch.no_grad()
def name_layer(model: nn.Module, tokens: Tensor) -> str:
    """The first module whose output for these tokens is not finite, the innermost one; empty where there is none."""
    found: list[str] = []

    def look(name: str, out: object) -> None:
        if not found:
            found.extend(filter(None, [name_first((name, tensor) for tensor in _tensors(out))]))

    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: look(name, out))
        for name, module in model.named_modules()
        if name
    ]
    try:
        model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point():
            yield name, tensor


def _tensors(out: object) -> Iterator[Tensor]:
    """The tensors in a module's output, also those in tuples."""
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, tuple):
        for part in out:
            yield from _tensors(part)
