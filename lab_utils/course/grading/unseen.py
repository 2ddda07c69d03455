"""Inputs that no answer has seen before: an exercise's cases with their numbers in another order.

An answer that recognises the known cases, instead of computing, is wrong here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case

MOVED = (torch.float32, torch.float64, torch.int64)


def unseen_cases(cases: Sequence[Case], seed: int) -> list[Case]:
    """The judged cases that can be changed, each changed; the same ones for the same seed.

    In a tensor the last axis is permuted: rows that sum to 1 still do, ties and sizes stay. bfloat16 is left alone,
    since there the order of sums shows. Where all inputs are plain, whole numbers are multiplied.
    """
    draw = random.Random(seed)
    found = []
    for case in cases:
        if case.judged and not any(_is_bfloat16(arg) for arg in case.args):
            generator = torch.Generator().manual_seed(draw.getrandbits(48))
            factor = draw.randint(2, 5)
            plain = not any(_holds_tensor(arg) for arg in case.args)
            args = tuple(_change(arg, generator, factor if plain else 1) for arg in case.fresh_args())
            if any(_differs(old, new) for old, new in zip(case.args, args, strict=True)):
                found.append(Case(f"{case.says}, in another order" if not plain else case.says, args))
    return found


def _change(arg: Any, generator: torch.Generator, factor: int) -> Any:
    if isinstance(arg, Tensor) and arg.dtype in MOVED and arg.ndim and arg.numel():
        order = torch.randperm(arg.shape[-1], generator=generator)
        return arg.index_select(-1, order).clone()
    if type(arg) is int:
        return arg * factor
    if type(arg) is tuple and any(isinstance(each, Tensor) for each in arg):
        return tuple(_change(each, generator, 1) for each in arg)
    return arg


def _holds_tensor(arg: Any) -> bool:
    return isinstance(arg, Tensor) or (
        isinstance(arg, tuple | list) and any(_holds_tensor(each) for each in arg)
    )


def _is_bfloat16(arg: Any) -> bool:
    return isinstance(arg, Tensor) and arg.dtype == torch.bfloat16


def _differs(old: Any, new: Any) -> bool:
    if isinstance(old, Tensor):
        return not torch.equal(old, new)
    if isinstance(old, tuple):
        return any(_differs(o, n) for o, n in zip(old, new, strict=True))
    return type(old) is int and old != new
