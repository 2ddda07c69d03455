"""What an answer gave, as JSON and back: how it gets from the process that ran the answer to the one that judges it.

Tensors, numbers, texts and lists of them are carried. Of any other value only the name of its type is, which is all
that the judge says about it. Nothing that is read back can run code.
"""

from __future__ import annotations

import base64
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.attempt import BEGUN, NO_END, NOT_TRIED, Attempt, Outcome

LONGEST = 1_000_000  # bytes of a value; the largest right one has 3,360
DEEPEST = 20  # lists within lists; a list may hold itself
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.complex128,
    )
}  # fmt: skip


def pack_attempt(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain data."""
    return {
        "why": attempt.why,
        "outcomes": [
            {
                "problem": outcome.problem[:2000],
                "place": outcome.place[:500],
                "parts": None
                if outcome.parts is None
                else [[str(name)[:200], _pack_part(part)] for name, part in outcome.parts.items()],
            }
            for outcome in attempt.outcomes
        ],
    }


def unpack_attempt(data: Any, n_cases: int) -> Attempt:
    """The attempt that plain data describes. Raises `ValueError` where they describe none for so many cases."""
    try:
        why, packed = data["why"], list(data["outcomes"])
        outcomes = tuple(
            Outcome(
                None if each["parts"] is None else {str(name): _unpack(part) for name, part in each["parts"]},
                str(each["problem"]),
                str(each["place"]),
            )
            for each in packed
        )
    except (KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise ValueError(f"no attempt: {type(error).__name__}") from None
    if why not in ("", NOT_TRIED, BEGUN, NO_END) or len(outcomes) != (0 if why else n_cases):
        raise ValueError("no attempt at all cases")
    return Attempt(outcomes, why)


def plain(value: Any) -> Any:
    """The value, with torch's own tensors in the place of those of other classes."""
    if isinstance(value, Tensor):
        if type(value) in (Tensor, torch.nn.Parameter):
            return value
        # Not by methods of the value, which its class may have replaced.
        with torch._C.DisableTorchFunctionSubclass():
            return Tensor.as_subclass(value, Tensor)
    if type(value) in (tuple, list):
        return type(value)(plain(each) for each in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(plain(each) for each in value))
    if type(value) is dict:
        return {name: plain(each) for name, each in value.items()}
    return value


class _TooLarge(Exception):
    """A list of which only the name is carried."""


def _pack_part(value: Any) -> Any:
    """The value as plain data: of a list that is too deep or too large, or fails when it is read, the name only."""
    try:
        return _pack(value, DEEPEST, [LONGEST])
    except _TooLarge as error:
        return {"other": str(error)}
    except Exception:  # a class of the learner's, with a length or a text that raises
        return {"other": type(value).__name__[:100]}


def _pack(value: Any, depth: int, room: list[int]) -> Any:
    """`depth` more lists may lie within this value. `room` has one number, the bytes that are left for all of it."""
    if isinstance(value, list):
        if depth == 0:
            raise _TooLarge("list, nested too deeply")
        return [_pack(each, depth - 1, room) for each in value if _takes(room, 10)]
    if isinstance(value, Tensor):
        tensor = plain(value).detach()
        name = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or name not in _DTYPES:
            return {"other": f"{type(value).__name__} ({name}, {tensor.layout}, {tensor.device.type})"}
        if tensor.numel() * tensor.element_size() > LONGEST:
            return {"other": f"{type(value).__name__} of {tensor.numel():,} numbers"}
        _takes(room, tensor.numel() * tensor.element_size())
        raw = tensor.resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return {"tensor": name, "shape": list(tensor.shape), "bytes": base64.b64encode(raw).decode()}
    if value is None or isinstance(value, bool):
        return {"plain": value}
    if isinstance(value, float):
        return {"plain": float(value)}
    if isinstance(value, int) and abs(value) < 2**1024:
        return {"plain": int(value)}
    if isinstance(value, str) and len(value) <= LONGEST and _takes(room, len(value)):
        return {"plain": str(value)}
    return {"other": type(value).__name__[:100]}


def _takes(room: list[int], size: int) -> bool:
    """Take so many bytes. `_TooLarge` where they are not there."""
    room[0] -= size
    if room[0] < 0:
        raise _TooLarge("list, too large")
    return True


def _unpack(data: Any) -> Any:
    if isinstance(data, list):
        return [_unpack(each) for each in data]
    if "plain" in data:
        if not isinstance(data["plain"], bool | int | float | str | None):
            raise ValueError("no plain value")
        return data["plain"]
    if "other" in data:
        return type(str(data["other"]).replace("\0", ""), (), {})()
    raw = bytearray(base64.b64decode(data["bytes"], validate=True))
    shape, dtype = data["shape"], _DTYPES[data["tensor"]]
    if not raw:
        return torch.empty(shape, dtype=dtype) if 0 in shape else torch.empty(0, dtype=dtype)
    return torch.frombuffer(raw, dtype=dtype).reshape(shape)
