"""What a file of tensors claims to hold, read from its header, against what a model's configuration needs.

The header of a safetensors file gives every tensor's name, type and shape. Comparing it takes no memory, so a
configuration of a million layers is refused before a model of it is built.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nanokimi.config import KimiConfig, ModelConfig
from nanokimi.model import build_model
from nanokimi.system.printable import quote

Claim = tuple[str, tuple[int, ...]]  # a type as safetensors calls it, and a shape

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",  # the mask of an attention of one's own
}
_LARGEST_HEADER = 1 << 24  # bytes; K2 itself, one file, would need 100,000


def describe(tensors: dict[str, Tensor]) -> dict[str, Claim]:
    """Type and shape of tensors by name."""
    return {name: (_TYPES.get(t.dtype, str(t.dtype)), tuple(t.shape)) for name, t in tensors.items()}


def read_header(path: Path) -> dict[str, Claim]:
    """The tensors that a safetensors file claims to hold; `ValueError` for another file.

    safetensors itself checks, when it loads them, that they fill the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise ValueError(f"its header would have {quote(length)} bytes")
        header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    found, end = {}, 0
    for name, about in header.items():
        if name == "__metadata__":
            continue
        try:
            kind, shape, (_, last) = about["dtype"], about["shape"], about["data_offsets"]
            right = isinstance(kind, str) and all(type(n) is int for n in (*shape, last))
        except (TypeError, ValueError, KeyError):  # no object, no list, one name of the three missing
            right = False
        if not right:
            raise ValueError(f"its header has a wrong type at {quote(name)}")
        found[name], end = (kind, tuple(shape)), max(end, last)
    if 8 + length + end != size:
        raise ValueError(f"it has {size:,} bytes, and its header speaks of {quote(8 + length + end)}")
    return found


def claim_of(cfg: ModelConfig, most: int) -> dict[str, Claim]:
    """The tensors of a model with this configuration, without building it; `ValueError` for more than `most`.

    Layers of a kind are alike: one of each kind is built on the meta device, where a tensor takes no memory.
    """
    too_many = (
        f"n_layers={quote(cfg.n_layers)}, and the file holds {most} {'tensor' if most == 1 else 'tensors'}"
    )
    if cfg.n_layers > most:
        raise ValueError(too_many)
    is_kimi = isinstance(cfg, KimiConfig)
    claims: dict[str, Claim] = {}
    for first, layers in (cfg.alike() if is_kimi else {0: range(cfg.n_layers)}).items():
        with torch.device("meta"):
            model = build_model(cfg.only(first) if is_kimi else replace(cfg, n_layers=1))
        one = describe(model.state_dict())
        for name, claim in one.items():
            rest = name.removeprefix("layers.0.")
            if rest == name:
                claims[name] = claim
            elif len(claims) + len(layers) > most:
                raise ValueError(too_many)
            else:
                claims |= {f"layers.{layer}.{rest}": claim for layer in layers}
    return claims


def match(found: dict[str, Claim], wanted: dict[str, Claim]) -> None:
    """Raise `ValueError`, which names the first difference, unless both are the same tensors."""
    for name in wanted:
        if name not in found:
            raise ValueError(f"{quote(name)} is missing")
        if found[name] != wanted[name]:
            raise ValueError(f"{quote(name)} is {_say(found[name])}, not {_say(wanted[name])}")
    for name in found:
        if name not in wanted:
            raise ValueError(f"{quote(name)} does not belong there")


def _say(claim: Claim) -> str:
    kind, shape = claim
    return f"{quote(kind)} of shape {quote(list(shape))}"
