"""The state of optimizers as tensors with names, and which names, shapes and types it must have.

torch's fused kernels take the state of an optimizer as it is: a tensor of another shape or type would make them read
and write memory that is not theirs.
"""

import torch
from torch import Tensor, nn

from nanokimi import ranks
from nanokimi.optim import Muon
from nanokimi.runs.claims import Claim, describe, match
from nanokimi.system.printable import quote


def pack_optimizers(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor of the optimizers' states, named `parameter|entry`: `layers.0.mlp.gate|momentum_buffer`.

    Those of a sharded model are dealt to the ranks as their parameters are.
    """
    names: dict[Tensor, str] = {p: n for n, p in model.named_parameters()}
    return {
        f"{names[p]}|{entry}": torch.as_tensor(value)
        for optimizer in optimizers
        for p, state in optimizer.state.items()
        for entry, value in state.items()
    }


def unpack_optimizers(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], packed: dict[str, Tensor]
) -> None:
    """Put what `pack_optimizers` returned into optimizers that were freshly built for the same model, as copies.

    Raises `ValueError`, and changes nothing, where it is not the state of these optimizers.
    """
    parameters = dict(model.named_parameters())
    owner = {p: o for o in optimizers for g in o.param_groups for p in g["params"]}
    check_state(model, {p for p, o in owner.items() if isinstance(o, Muon)}, describe(packed))
    check_steps(packed)
    for key, value in packed.items():
        name, entry = key.split("|")
        p = parameters[name]
        mine = torch.zeros_like(p) if value.shape == p.shape else torch.zeros_like(value)
        ranks.own(mine).copy_(ranks.part(value, mine))
        owner[p].state[p][entry] = mine


def check_state(model: nn.Module, muon: set[nn.Parameter], found: dict[str, Claim]) -> None:
    """Raise `ValueError` unless `found` describes a state of Muon for these parameters, and of AdamW for all others.

    A parameter has all of its optimizer's tensors, or none: then it has had no gradient yet.
    """
    wanted: dict[str, Claim] = {}
    for name, p in model.named_parameters():
        like = describe({"": p})[""]
        entries = {"momentum_buffer": like}
        if p not in muon:
            entries = {"step": ("F32", ()), "exp_avg": like, "exp_avg_sq": like}
        if any(f"{name}|{entry}" in found for entry in entries):
            wanted |= {f"{name}|{entry}": claim for entry, claim in entries.items()}
    match(found, wanted)


def check_steps(packed: dict[str, Tensor]) -> None:
    """Raise `ValueError` where AdamW's count of steps is no number of steps."""
    for key, value in packed.items():
        if key.endswith("|step") and not (value >= 0 and value.isfinite()):
            raise ValueError(f"{quote(key)} is {value.item()}, not a number of steps")
