"""The weights under the names of the DeepseekV3 format, or of Kimi Linear's, and back."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor

from nanokimi.config import KimiConfig
from nanokimi.hub.kimi_linear import is_kimi_linear, shape_in_file, to_kimi_linear_names
from nanokimi.hub.words import HubError
from nanokimi.kimi import Kimi
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote

# The end of a weight's name: ours -> the format's.
_WEIGHTS = {
    ".kv_a_proj.weight": ".kv_a_proj_with_mqa.weight",
    ".mlp.gate": ".mlp.gate.weight",
    ".mlp.expert_bias": ".mlp.gate.e_score_correction_bias",
}
_SHARED = tuple(f".shared_experts.{part}_proj.weight" for part in ("gate", "up", "down"))
_LAYER = re.compile(r"model\.layers\.(\d{1,9})\.")


@checked
def hub_names(name: str, tensor: Tensor) -> Iterator[str]:
    """The DeepseekV3 format's names for one of our tensors; its parts, one after the other, are the format's tensors.

    The gate_up_proj (E, 2I, D) of a bank is E·2 matrices (I, D) in the format: experts.0.gate_proj, experts.0.up_proj,
    experts.1.gate_proj and so on. Most tensors are one tensor in both.
    """
    name = name if name.startswith("lm_head.") else f"model.{name}"
    for ours, theirs in _WEIGHTS.items():
        if name.endswith(ours):
            yield name.removesuffix(ours) + theirs
            return
    stem, _, last = name.rpartition(".")
    if last not in ("gate_up_proj", "down_proj"):
        yield name
        return
    parts = ("gate_proj", "up_proj") if last == "gate_up_proj" else ("down_proj",)
    numbers = (f".{e}" for e in range(tensor.shape[0])) if stem.endswith(".experts") else ("",)
    for number in numbers:
        yield from (f"{stem}{number}.{part}.weight" for part in parts)


def _cut(tensor: Tensor, n_parts: int) -> tuple[Tensor, ...]:
    """The `n_parts` equal matrices that lie one after the other in `tensor`."""
    return (tensor,) if n_parts == 1 else tensor.reshape(n_parts, -1, tensor.shape[-1]).unbind()


@checked
def to_hub_weights(model: Kimi) -> dict[str, Tensor]:
    """Every weight under the name that `save_pretrained` writes, the experts one by one; views where possible.

    Where a model has no shared experts, the format has matrices of width 0.
    """
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(".expert_bias"):
            tensor = tensor.float()  # rounding to bfloat16 would undo the updates of 1e-3 that made it
        names, _ = _spellings(name, tensor, model.cfg)
        for hub, part in zip(names, _cut(tensor, len(names)), strict=True):
            weights[hub] = part.reshape(shape_in_file(hub, part))
        if name.endswith(".mlp.gate") and model.cfg.moe is not None and not model.cfg.moe.n_shared_experts:
            shapes = [(0, tensor.shape[1])] * 2 + [(tensor.shape[1], 0)]
            layer = names[0].removesuffix(".gate.weight")
            weights |= {layer + end: tensor.new_empty(shape) for end, shape in zip(_SHARED, shapes)}
    return weights


@checked
def from_hub_weights(weights: Mapping[str, Tensor], cfg: KimiConfig) -> dict[str, Tensor]:
    """A state dict for `Kimi(cfg)`, from weights per expert or from whole banks (`experts.gate_up_proj`).

    Prediction layers past the last one (DeepSeek-V3 has one) and stored rotations are left out. Raises `HubError` for a
    weight that is missing, that has another shape, or that the model has no place for.
    """
    plan = plan_weights({name: tuple(tensor.shape) for name, tensor in weights.items()}, cfg)
    return {
        name: torch.cat([weights[hub] for hub in names]).view(shape) for name, (names, shape) in plan.items()
    }


def plan_weights(
    shapes: Mapping[str, tuple[int, ...]], cfg: KimiConfig
) -> dict[str, tuple[list[str], tuple[int, ...]]]:
    """For every weight of `Kimi(cfg)` the names of its parts in a file with these shapes, and its own shape.

    Nothing is read yet and no model is built: a configuration that claims more than the file holds costs no memory, and
    no more time than there are names. Raises `HubError` as `from_hub_weights` does.
    """
    left = {name: shape for name, shape in shapes.items() if not name.endswith("rotary_emb.inv_freq")}
    plan = {}
    for name, like in _weights_of(cfg):
        written, other = _spellings(name, like, cfg)
        names = other if other[0] in left else written
        for hub in names:
            if hub not in left:
                raise HubError(f"weights: {hub} is missing")
        for hub, part in zip(names, _cut(like, len(names)), strict=True):
            shape = shape_in_file(hub, part)
            if left[hub] != shape:
                raise HubError(f"weights: {hub} has shape {left[hub]}, config.json asks for {shape}")
            del left[hub]
        plan[name] = names, tuple(like.shape)
    for name, shape in left.items():
        if not _may_be_left_out(name, shape, left, cfg):
            raise HubError(f"weights: {quote(name)} has no place in the model of config.json")
    return plan


def _spellings(name: str, tensor: Tensor, cfg: KimiConfig) -> tuple[list[str], list[str]]:
    """The names under which a tensor is written, and other ones under which it may be found.

    A bank may be whole, as transformers holds it in memory. Of a KimiLinear model transformers writes the dense layers
    too under the name that the published file has for the others.
    """
    names = list(hub_names(name, tensor))
    if not is_kimi_linear(cfg):
        return names, [f"model.{name}"]
    names = to_kimi_linear_names(names)
    return names, [each.replace(".mlp.", ".block_sparse_moe.") for each in names]


def _may_be_left_out(
    name: str, shape: tuple[int, ...], left: Mapping[str, tuple[int, ...]], cfg: KimiConfig
) -> bool:
    """Whether a weight belongs to a prediction layer past the last one, or to shared experts that are none."""
    layer = _LAYER.match(name)
    if layer is not None and int(layer.group(1)) >= cfg.n_layers:
        return f"{layer.group()}eh_proj.weight" in left
    without_shared = cfg.moe is not None and cfg.moe.n_shared_experts == 0
    return without_shared and name.endswith(_SHARED) and 0 in shape


def _weights_of(cfg: KimiConfig) -> Iterator[tuple[str, Tensor]]:
    """The names of a Kimi's weights, and tensors without content in their shapes, one layer after the other."""
    kinds: list[dict[str, Tensor]] = [{}] * cfg.n_layers
    for first, layers in cfg.alike().items():
        with torch.device("meta"):
            alike = Kimi(cfg.only(first)).state_dict()
        for layer in layers:
            kinds[layer] = alike
    outside = [(name, like) for name, like in kinds[0].items() if not name.startswith("layers.0.")]
    layers = (
        (name.replace(".0.", f".{i}.", 1), like)
        for i, kind in enumerate(kinds)
        for name, like in kind.items()
        if name.startswith("layers.0.")
    )
    return chain(outside, layers)
