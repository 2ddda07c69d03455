"""The weights under the names of the DeepseekV3 format, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nanokimi.config import KimiConfig
from nanokimi.hub.hub_config import HubError
from nanokimi.kimi import Kimi

# The end of a weight's name: ours -> the format's.
_WEIGHTS = {
    ".kv_a_proj.weight": ".kv_a_proj_with_mqa.weight",
    ".mlp.gate": ".mlp.gate.weight",
    ".mlp.expert_bias": ".mlp.gate.e_score_correction_bias",
}


def hub_names(name: str, tensor: Tensor) -> list[str]:
    """The format's names for one of our tensors, whose parts, one after the other, are the tensors of the format.

    The gate_up_proj (E, 2I, D) of a bank is E·2 matrices (I, D) in the format: experts.0.gate_proj, experts.0.up_proj,
    experts.1.gate_proj and so on. Most tensors are one tensor in both.
    """
    name = name if name.startswith("lm_head.") else f"model.{name}"
    for ours, theirs in _WEIGHTS.items():
        if name.endswith(ours):
            return [name.removesuffix(ours) + theirs]
    stem, _, last = name.rpartition(".")
    stems = [f"{stem}.{e}" for e in range(tensor.shape[0])] if stem.endswith(".experts") else [stem]
    if last == "gate_up_proj":
        return [f"{s}.{part}.weight" for s in stems for part in ("gate_proj", "up_proj")]
    if last == "down_proj":
        return [f"{s}.down_proj.weight" for s in stems]
    return [name]


def _cut(tensor: Tensor, n_parts: int) -> tuple[Tensor, ...]:
    """The `n_parts` equal matrices that lie one after the other in `tensor`."""
    return (tensor,) if n_parts == 1 else tensor.reshape(n_parts, -1, tensor.shape[-1]).unbind()


def to_hub_weights(model: Kimi) -> dict[str, Tensor]:
    """Every weight under the name that `save_pretrained` writes, the experts one by one; views where possible."""
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(".expert_bias"):
            tensor = tensor.float()  # rounding to bfloat16 would undo the updates of 1e-3 that made it
        names = hub_names(name, tensor)
        weights |= dict(zip(names, _cut(tensor, len(names)), strict=True))
    return weights


def from_hub_weights(weights: Mapping[str, Tensor], cfg: KimiConfig) -> dict[str, Tensor]:
    """A state dict for `Kimi(cfg)`, from weights per expert or from whole banks (`experts.gate_up_proj`).

    Layers past the last one (DeepSeek-V3's extra prediction layer) and stored rotations are left out. Raises `HubError`
    for a weight that is missing, that has another shape, or that the model has no place for.
    """
    with torch.device("meta"):
        expected = Kimi(cfg).state_dict()
    layers = tuple(f"model.layers.{i}." for i in range(cfg.n_layers))
    left = {
        name: tensor
        for name, tensor in weights.items()
        if not name.endswith("rotary_emb.inv_freq")
        and (not name.startswith("model.layers.") or name.startswith(layers))
    }
    state = {}
    for name, like in expected.items():
        names = hub_names(name, like)
        if f"model.{name}" in left:  # a bank as transformers holds it in memory
            names = [f"model.{name}"]
        missing = [hub for hub in names if hub not in left]
        if missing:
            raise HubError(f"weights: {missing[0]} is missing")
        parts = [left.pop(hub) for hub in names]
        for hub, part, expected_part in zip(names, parts, _cut(like, len(names)), strict=True):
            if part.shape != expected_part.shape:
                raise HubError(
                    f"weights: {hub} has shape {tuple(part.shape)}, config.json asks for {tuple(expected_part.shape)}"
                )
        state[name] = torch.cat(parts).view(like.shape)
    if left:
        raise HubError(f"weights: {min(left)} has no place in the model of config.json")
    return state
