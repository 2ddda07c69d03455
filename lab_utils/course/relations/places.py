"""Where a wrong value differs from the right one: in the last row, above the diagonal, where the right one is negative.

As in `likeness`, what is said is computed on every pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lab_utils.course.relations.pairs import ENOUGH, Pair, has_flags, say_along


def _wrong(pair: Pair) -> Tensor:
    """Which entries differ."""
    if has_flags(pair):
        return pair.right != pair.got
    return ~torch.isclose(pair.got, pair.right, rtol=pair.tolerance, atol=pair.tolerance, equal_nan=True)


# The entries along an axis that are wrong, of `n`: at least so many there must be in one pair.
_ALONG: dict[str, tuple[int, Callable[[int], list[int]]]] = {
    "only the first place{} is wrong": (3, lambda n: [0]),
    "only the last place{} is wrong": (3, lambda n: [n - 1]),
    "the first place{} is right, and all others are wrong": (3, lambda n: list(range(1, n))),
    "the last place{} is right, and all others are wrong": (3, lambda n: list(range(n - 1))),
    "the first half is right{}, and the second is wrong": (4, lambda n: list(range(n // 2, n))),
    "the second half is right{}, and the first is wrong": (4, lambda n: list(range(n // 2))),
    "the places 0, 2, 4, ... are right{}, and all others are wrong": (4, lambda n: list(range(1, n, 2))),
    "the places 1, 3, 5, ... are right{}, and all others are wrong": (4, lambda n: list(range(0, n, 2))),
}


def _along_axes(pairs: Sequence[Pair]) -> str:
    """Places along an axis that are wrong in every entry, where all other places are right."""
    for axis in range(-1, -min(pair.right.ndim for pair in pairs) - 1, -1):
        found = []
        for pair in pairs:
            wrong = _wrong(pair).movedim(axis, 0)
            wrong = wrong.reshape(len(wrong), -1)
            if not torch.equal(wrong.any(1), wrong.all(1)):
                break
            found.append((len(wrong), wrong.any(1).nonzero().flatten().tolist()))
        if len(found) < len(pairs):
            continue
        for says, (enough, expected) in _ALONG.items():
            if max(n for n, _ in found) >= enough and all(places == expected(n) for n, places in found):
                return say_along(says, axis, pairs)
    return ""


def _beside_the_diagonal(pairs: Sequence[Pair]) -> str:
    if any(p.right.ndim < 2 or p.right.shape[-1] != p.right.shape[-2] for p in pairs):
        return ""
    if max(p.right.shape[-1] for p in pairs) < ENOUGH:
        return ""
    inside: dict[str, Callable[[Tensor], Tensor]] = {
        "only entries on the diagonal are wrong": lambda x: x.tril().triu(),
        "only entries above the diagonal are wrong": lambda x: x.triu(1),
        "only entries below the diagonal are wrong": lambda x: x.tril(-1),
    }
    for says, part in inside.items():
        if all(torch.equal(part(w), w) for w in map(_wrong, pairs)):
            return says
    return ""


def _by_sign(pairs: Sequence[Pair]) -> str:
    """Wrong numbers that are told from right ones by what they should be."""
    if any(has_flags(pair) for pair in pairs):
        return ""
    right = torch.cat([pair.right.flatten() for pair in pairs])
    wrong = torch.cat([_wrong(pair).flatten() for pair in pairs])
    looks = {
        "all numbers are wrong that should be negative, and no others": right < 0,
        "all numbers are wrong that should be positive, and no others": right > 0,
        "all numbers are wrong that should be 0, and no others": right == 0,
    }
    if wrong.sum() < ENOUGH or (~wrong).sum() < ENOUGH:
        return ""
    return next((says for says, holds in looks.items() if torch.equal(holds, wrong)), "")


def _not_finite(pairs: Sequence[Pair]) -> str:
    """nan or inf in the place of numbers."""
    if any(has_flags(p) or not p.right.isfinite().all() or p.got.isfinite().all() for p in pairs):
        return ""
    bad = [~p.got.isfinite() for p in pairs]
    kinds = {"nan" if x.isnan() else "inf" for p, b in zip(pairs, bad) for x in p.got[b]}
    named = " or ".join(sorted(kinds))
    if all(b.all() for b in bad):
        return f"every number is {named}"
    rest = (
        "all others are right"
        if all(torch.equal(_wrong(p), b) for p, b in zip(pairs, bad))
        else "others differ too"
    )
    return f"some numbers are {named}, and {rest}"


def _by_size(pairs: Sequence[Pair]) -> str:
    """Wrong numbers that are all near the right ones, or all on one side of them."""
    wrong = [_wrong(pair) for pair in pairs]
    right = torch.cat([p.right[w].double() for p, w in zip(pairs, wrong)])
    got = torch.cat([p.got[w].double() for p, w in zip(pairs, wrong)])
    if len(got) < 2 * ENOUGH or not bool((right.isfinite() & got.isfinite()).all()):
        return ""
    if has_flags(pairs[0]):
        if got.all():
            return "nothing that should be True is False, and some entries that should be False are True"
        if not got.any():
            return "nothing that should be False is True, and some entries that should be True are False"
        return ""
    if rounded := _rounded(right, got):
        return rounded
    if torch.isclose(got.abs(), right.abs(), rtol=1e-5, atol=0.0).all():
        return "some numbers have the wrong sign, and all have the right size"
    for what, larger in (("large", (got > right).all()), ("small", (got < right).all())):
        if larger:
            return f"every wrong number is too {what}"
    return ""


def _rounded(right: Tensor, got: Tensor) -> str:
    """Numbers that are near the right ones, and all of them such as a shorter format can hold."""
    off = float(((got - right) / right).abs().max())
    told = {x for x in got.tolist() if x != round(x, 1)}  # 0.5 can be held by every format
    for short in (torch.float16, torch.bfloat16, torch.float32):
        name, step = str(short).removeprefix("torch."), torch.finfo(short).eps
        is_shorter = not torch.equal(right.to(short).double(), right)
        if is_shorter and off <= step and len(told) >= ENOUGH and torch.equal(got.to(short).double(), got):
            return f"the numbers have the few digits of {name}: something is rounded on the way"
    return ""


PLACES = (_not_finite, _along_axes, _beside_the_diagonal, _by_sign, _by_size)
