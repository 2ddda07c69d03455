"""The right numbers at other places: transposed, reversed, moved by one, too few, too many, along an axis apart.

As in `likeness`, what is said is computed on every pair.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lab_utils.course.relations.pairs import ENOUGH, Pair, all_same, has_flags, name_axis, same, say_along


def _exchange_halves(x: Tensor, axis: int) -> Tensor:
    if x.shape[axis] % 2 or x.shape[axis] < 4:
        raise IndexError
    return x.roll(x.shape[axis] // 2, axis)


_MOVES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "the right numbers stand in the opposite order{}": lambda x, axis: x.flip(axis),
    "the right numbers stand one place too late{}, the last one first": lambda x, axis: x.roll(1, axis),
    "the right numbers stand one place too early{}, the first one last": lambda x, axis: x.roll(-1, axis),
    "the two halves are exchanged{}": _exchange_halves,
    "the mean is subtracted{}, and should not be": lambda x, axis: x - x.mean(axis, keepdim=True),
    "the numbers are divided by their sum{}, and should not be": lambda x, axis: x / x.sum(axis, keepdim=True),
    "every number is the mean of the right ones{}": lambda x, axis: x.mean(axis, keepdim=True).expand_as(x),
    "every number is the sum of the right ones{}": lambda x, axis: x.sum(axis, keepdim=True).expand_as(x),
    "every number is the largest of the right ones{}": lambda x, axis: x.amax(axis, keepdim=True).expand_as(x),
    "the right numbers are sorted{}, the smallest first": lambda x, axis: x.sort(axis).values,
    "the right numbers are sorted{}, the largest first": lambda x, axis: x.sort(axis, descending=True).values,
    "all numbers are the first of the right ones{}": lambda x, axis: x.narrow(axis, 0, 1).expand_as(x),
}  # fmt: skip


def _axes(pairs: Sequence[Pair]) -> range:
    """The axes that all right values have, counted from the end."""
    return range(-1, -min(pair.right.ndim for pair in pairs) - 1, -1)


def _moved(pairs: Sequence[Pair]) -> str:
    """The right numbers along an axis, moved or taken together."""
    for axis in _axes(pairs):
        if all(pair.right.shape[axis] < 2 for pair in pairs):
            continue
        for says, of in _MOVES.items():
            if all_same(pairs, functools.partial(of, axis=axis)):
                return say_along(says, axis, pairs)
    return ""


def _turned(pairs: Sequence[Pair]) -> str:
    """The right numbers with axes exchanged."""
    n_axes = pairs[0].right.ndim
    if any(pair.right.ndim != n_axes for pair in pairs) or n_axes > 5:
        return ""
    for one, other in itertools.combinations(range(-n_axes, 0), 2):
        if all_same(pairs, functools.partial(torch.transpose, dim0=one, dim1=other)):
            return f"the numbers are right, and {name_axis(one, pairs)} and {name_axis(other, pairs)} are exchanged"
    for order in itertools.permutations(range(n_axes)):
        if all_same(pairs, functools.partial(torch.permute, dims=order)):
            return (
                f"the numbers are right, and the axes {list(order)} of the right result stand in this order"
            )
    return ""


def _arranged(pairs: Sequence[Pair]) -> str:
    """The right numbers in another shape, or in another order."""
    if has_flags(pairs[0]) or any(pair.right.numel() != pair.got.numel() for pair in pairs):
        return ""
    flat = [(p.right.flatten(), p.got.flatten(), p.room) for p in pairs]
    if all(p.right.shape != p.got.shape for p in pairs) and all(same(*each) for each in flat):
        return "the numbers are right, and so is their order; only the shape is not"
    if (
        max(len(right.unique()) for right, _, _ in flat) < ENOUGH
    ):  # two zeros and a one stand at other places soon
        return ""
    # Moved numbers are the same to the last bit: rounded ones, sorted, are near those of many other tensors.
    exact = [
        (r.sort().values, g.sort().values, 0.0 if p.short else p.room) for (r, g, _), p in zip(flat, pairs)
    ]
    if all(same(*each) for each in exact):
        return "the right numbers stand at other places"
    return ""


def _along_an_axis(pairs: Sequence[Pair]) -> str:
    """The right direction with the wrong length, or the right differences."""
    if any(has_flags(p) or not p.got.isfinite().all() or not p.right.numel() for p in pairs):
        return ""
    for axis in _axes(pairs):
        if max(pair.right.shape[axis] for pair in pairs) < ENOUGH:
            continue
        places = [p.right.abs().argmax(axis, keepdim=True) for p in pairs]
        factors = [p.got.gather(axis, at) / p.right.gather(axis, at) for p, at in zip(pairs, places)]
        fits = all(f.isfinite().all() and same(p.right * f, p.got, p.room) for p, f in zip(pairs, factors))
        if fits and _are_wrong_lengths(torch.cat([f.flatten() for f in factors])):
            says = "apart from one factor, the numbers{} are right"
            return say_along(says, axis, pairs, " of an input") + _total(pairs, axis)
        offsets = [(p.got - p.right).narrow(axis, 0, 1) for p in pairs]
        if all(same(p.right + offset, p.got, p.room) for p, offset in zip(pairs, offsets)):
            says = "apart from one number that is added, the numbers{} are right"
            return say_along(says, axis, pairs, " of an input")
    return ""


def _are_wrong_lengths(factors: Tensor) -> bool:
    """Whether the factors say something of lengths: where they are 0, or 1, a part is lost and the others are right."""
    others = factors[(factors - 1).abs() > 1e-3]
    return bool((factors.abs() > 1e-9).all()) and len({round(f, 4) for f in others.tolist()}) > 1


def _total(pairs: Sequence[Pair], axis: int) -> str:
    """Whether numbers along an axis sum to 1, or have the length 1, and should not, or the other way round."""
    totals = {"sum to 1": torch.sum, "have the length 1": torch.linalg.vector_norm}
    for says, of in totals.items():
        right, got = (
            all(bool(torch.isclose(of(x, dim=axis), x.new_ones(()), atol=1e-4).all()) for x in group)
            for group in ([p.right for p in pairs], [p.got for p in pairs])
        )
        if right != got:
            return f"; they {says}, and should not" if got else f"; they should {says}"
    return ""


# ---------------------------------------------------------------- another shape

_TAKEN_TOGETHER: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "largest number": torch.amax,
}


def _too_few_axes(pairs: Sequence[Pair]) -> str:
    """A sum or mean along an axis, or an axis of one entry that is missing."""
    for axis in _axes(pairs):
        for says, of in _TAKEN_TOGETHER.items():
            for keep in (False, True):
                if all_same(pairs, functools.partial(of, dim=axis, keepdim=keep)):
                    return say_along(f"it is the {says} of the right numbers{{}}", axis, pairs)
    return ""


def _too_many_axes(pairs: Sequence[Pair]) -> str:
    """Numbers whose sum or mean would be right."""
    n_entries = sum(pair.got.numel() for pair in pairs)
    if n_entries < ENOUGH or any(not pair.got.numel() or pair.got.ndim <= pair.right.ndim for pair in pairs):
        return ""
    for says, of in _TAKEN_TOGETHER.items():
        if all(pair.right.ndim == 0 for pair in pairs):
            if all(same(pair.right, of(pair.got)) for pair in pairs):
                return f"these are many numbers, and their {says} is the right result"
            continue
        n_axes = min(pair.got.ndim for pair in pairs)
        for axis in range(-1, -n_axes - 1, -1):
            if all(same(pair.right, of(pair.got, dim=axis)) for pair in pairs):
                return f"axis {axis} is one too many: the {says} along it is the right result"
    return ""


def _begins(whole: Tensor, piece: Tensor, axis: int) -> bool:
    n = piece.shape[axis] if piece.ndim == whole.ndim else 0
    return 0 < n < whole.shape[axis] and same(whole.narrow(axis, 0, n), piece)


def _ends(whole: Tensor, piece: Tensor, axis: int) -> bool:
    n = piece.shape[axis] if piece.ndim == whole.ndim else 0
    return 0 < n < whole.shape[axis] and same(whole.narrow(axis, whole.shape[axis] - n, n), piece)


_PARTS: dict[str, Callable[[Pair, int], bool]] = {
    "only the beginning of the right result is there{}": lambda p, axis: _begins(p.right, p.got, axis),
    "only the end of the right result is there{}": lambda p, axis: _ends(p.right, p.got, axis),
    "after the right numbers come others{}": lambda p, axis: _begins(p.got, p.right, axis),
    "before the right numbers come others{}": lambda p, axis: _ends(p.got, p.right, axis),
}


def _too_short_or_long(pairs: Sequence[Pair]) -> str:
    """A part of the right value, or more than it."""
    if sum(min(p.right.numel(), p.got.numel()) for p in pairs) < ENOUGH:
        return ""
    for axis in _axes(pairs):
        for says, holds in _PARTS.items():
            if all(holds(pair, axis) for pair in pairs):
                return say_along(says, axis, pairs)
    return ""


SAME_SHAPE = (_moved, _turned, _along_an_axis, _arranged)
OTHER_SHAPE = (_turned, _arranged, _too_short_or_long, _too_few_axes, _too_many_axes)
