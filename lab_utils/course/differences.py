"""Is a value the right one? If not, why, in a sentence for the learner."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lab_utils.show.words import kind_of, plural


def explain_difference(right: Any, got: Any, tolerance: float) -> str:
    """Why `got` is not `right`, as a sentence; empty where it is, up to `tolerance`."""
    if isinstance(right, Tensor):
        return _explain_tensors(right, got, tolerance)
    if isinstance(right, list):
        if not isinstance(got, list):
            return f"It is {kind_of(got)}; it should be a list."
        if len(right) != len(got):
            return f"It has {plural(len(got), 'entry', 'entries')}; it should have {len(right)}."
        return next((why for pair in zip(right, got) if (why := explain_difference(*pair, tolerance))), "")
    if isinstance(right, str) and isinstance(got, str):
        return "" if right == got else f"It is {got!r}; it should be {right!r}."
    if isinstance(right, bool | str) or not isinstance(right, int | float):
        return "" if type(right) is type(got) and right == got else "It is not what it should be."
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"It is {kind_of(got)}; it should be a Python number."
    if math.isclose(right, got, rel_tol=tolerance, abs_tol=tolerance):
        return ""
    is_, should = _write_apart(got, right)
    return f"It is {is_}; it should be {should}."


def equal_tensors(right: Tensor, got: Tensor, tolerance: float) -> bool:
    """Whether all entries are equal up to `tolerance`; nan equals nan. Any number formats, the same shape."""
    return torch.allclose(_widen(got), _widen(right), rtol=tolerance, atol=tolerance, equal_nan=True)


def _explain_tensors(right: Tensor, got: Any, tolerance: float) -> str:
    if not isinstance(got, Tensor):
        # An answer that yields is read as a list.
        kind = "a list, or it yields its values one by one" if isinstance(got, list) else kind_of(got)
        return f"It is {kind}; it should be a tensor of shape {tuple(right.shape)}."
    if got.shape != right.shape:
        return f"Its shape is {tuple(got.shape)}; it should be {tuple(right.shape)}."
    if got.dtype != right.dtype:
        return f"Its numbers are {_dtype_name(got)}; they should be {_dtype_name(right)}."
    if right.isfinite().all() and not got.isfinite().all():
        return "It holds numbers that are not finite (nan or inf)."
    if equal_tensors(right, got, tolerance):
        return ""
    if right.ndim == 0:
        is_, should = _write_apart(got.item(), right.item())
        return f"It is {is_}; it should be {should}."
    wrong = ~torch.isclose(_widen(got), _widen(right), rtol=tolerance, atol=tolerance, equal_nan=True)
    place, n_wrong = tuple(wrong.nonzero()[0].tolist()), int(wrong.sum())
    is_, should = _write_apart(got[place].item(), right[place].item())
    return (
        f"{n_wrong} of {plural(wrong.numel(), 'entry', 'entries')} {'differs' if n_wrong == 1 else 'differ'}, "
        f"the first at {list(place)}: {is_} instead of {should}."
    )


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _write_apart(got: Any, right: Any) -> tuple[str, str]:
    """Both numbers, with four digits, or as many as it takes to see that they differ."""
    for n_digits in range(4, 18):
        written = tuple(
            f"{each:.{n_digits}g}" if isinstance(each, float) else str(each) for each in (got, right)
        )
        if written[0] != written[1]:
            break
    return written
