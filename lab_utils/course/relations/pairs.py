"""A right value and the wrong one in its place, and when one follows from the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

ENOUGH = 3  # different numbers that a relation must explain: fewer may agree by accident
ROOM = 2e-5  # of a relation between numbers that were computed in float32
STEPS = 1.3  # of a shorter format between two numbers that were rounded to it, each by half a step at most
NEAR = 4  # times that room: what rounding alone may do, where numbers are added after it


@dataclass(frozen=True)
class Pair:
    """A right value and the wrong one; the numbers of their case by name, and its tensors; what counts as equal."""

    right: Any
    got: Any
    sizes: dict[str, float] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    tolerance: float = 1e-5
    room: float = ROOM  # of a relation: bfloat16 has fewer digits
    short: torch.dtype | None = None  # the format of fewer digits than float32 that one of them has
    whole: bool = False  # both are whole numbers, which nothing rounds
    converted: Tensor | None = None  # the wrong numbers in the right format, where they came in another one

    @property
    def is_near(self) -> bool:
        """Whether no entry is off by much more than its format can hold: then rounding may look like any relation."""
        if self.whole or has_flags(self) or self.right.shape != self.got.shape or not self.right.numel():
            return False
        finite = self.right.isfinite()
        if not torch.equal(
            self.right.where(~finite, 0.0).nan_to_num(), self.got.where(~finite, 0.0).nan_to_num()
        ):
            return False
        right, got = self.right.where(finite, 0.0), self.got.where(finite, 0.0)
        return bool((got - right).abs().max() <= NEAR * self.room * right.abs().max())


def as_tensors(pair: Pair) -> Pair | None:
    """The pair in float64, where both are numbers or lists of them; flags stay flags. None where they are not."""
    found = []
    for value in (pair.right, pair.got):
        if isinstance(value, list) and value and all(type(each) in (int, float, bool) for each in value):
            value = torch.tensor(value)
        if type(value) in (int, float):
            value = torch.tensor(value, dtype=torch.float64)
        if not isinstance(value, Tensor) or value.is_complex() or value.device.type != "cpu":
            return None
        found.append(value.detach())
    right, got = found
    flags = right.dtype == torch.bool and got.dtype == torch.bool
    converted = None if right.dtype == got.dtype else got.to(right.dtype).double()
    short = next((f for f in (torch.bfloat16, torch.float16) if f in (right.dtype, got.dtype)), None)
    whole = not (right.is_floating_point() or got.is_floating_point())
    room = STEPS * torch.finfo(short).eps if short else pair.room
    right, got = (each if flags else each.double() for each in found)
    return replace(pair, right=right, got=got, room=room, short=short, whole=whole, converted=converted)


def has_flags(pair: Pair) -> bool:
    """Whether the values are True and False."""
    return pair.right.dtype == torch.bool


def same(right: Tensor, got: Tensor, room: float = ROOM) -> bool:
    """Whether two tensors hold the same numbers, up to rounding in float32; nan equals nan."""
    if right.shape != got.shape:
        return False
    right, got = right.double(), got.double()
    finite = right[right.isfinite()].abs()
    least = 0.1 * room * float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(got, right, rtol=room, atol=least, equal_nan=True)


def all_same(pairs: Sequence[Pair], of: Callable[[Tensor], Tensor]) -> bool:
    """Whether every wrong value is `of` the right one, and explains numbers enough that this is no accident."""
    explained: set[float] = set()
    n_entries = 0
    for pair in pairs:
        try:
            made = of(pair.right)
        except (RuntimeError, IndexError, TypeError):
            return False
        if not same(made, pair.got, pair.room):
            return False
        told = _told(pair)
        explained |= set(told.tolist())
        n_entries += len(told)
    return len(explained) >= ENOUGH or (len(explained) > 1 and n_entries > 2 * ENOUGH)


def _told(pair: Pair) -> Tensor:
    """The right numbers of entries that differ: only they tell one relation from another."""
    right, got = pair.right.double(), pair.got.double()
    if right.shape != got.shape:
        return got.flatten()
    return right[~torch.isclose(got, right, rtol=pair.room, atol=1e-9, equal_nan=True)]


def name_axis(axis: int, pairs: Sequence[Pair]) -> str:
    """An axis in words; axes are counted from the end, as -1."""
    counts = {pair.right.ndim for pair in pairs}
    if axis == -1:
        return "the last axis"
    return "the first axis" if counts == {-axis} else f"axis {axis}"


def say_along(says: str, axis: int, pairs: Sequence[Pair], alone: str = "") -> str:
    """A clause with its axis in the place of {}, or `alone` where the numbers have only one."""
    if all(pair.right.ndim == 1 for pair in pairs):
        return says.format(alone)
    return says.format(f" along {name_axis(axis, pairs)}")
