"""Is a value the right one? If not, why, in a sentence for the learner."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lab_utils.course.exercise import REFUSED
from lab_utils.show.words import kind_of, plural


def explain_difference(right: Any, got: Any, tolerance: float) -> str:
    """Why `got` is not `right`, as a sentence; empty where it is, up to `tolerance`."""
    if isinstance(right, Tensor):
        return _explain_tensors(right, got, tolerance)
    if isinstance(right, list):
        if not isinstance(got, list):
            return f"It is {describe_kind(got)}; it should be a list."
        if len(right) != len(got):
            return f"It has {plural(len(got), 'entry', 'entries')}; it should have {len(right)}."
        found = (explain_difference(*pair, tolerance) for pair in zip(right, got))
        return next((f"At [{i}], {why[0].lower()}{why[1:]}" for i, why in enumerate(found) if why), "")
    if right == REFUSED and isinstance(got, str):
        if got.startswith(f"{REFUSED}, "):
            return f"It is {got}."
        raised = got.removeprefix("refused with ") if got.startswith("refused with ") else "nothing"
        return "" if got == right else f"It should raise a ValueError here, and raises {raised}."
    if isinstance(right, bool | str) or not isinstance(right, int | float):
        if type(right) is not type(got):
            return f"It is {describe_kind(got)}; it should be {describe_kind(right)}."
        return "" if right == got else f"It is {got!r}; it should be {right!r}."
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"It is {describe_kind(got)}; it should be a Python number."
    if math.isclose(right, got, rel_tol=tolerance, abs_tol=tolerance) or (right != right and got != got):
        return ""
    is_, should = _write_apart(got, right)
    return f"It is {is_}; it should be {should}."


def describe_kind(value: Any) -> str:
    """What kind of value it is, in words: "a tensor of shape (2, 3)", "a tuple of 2 values", "nothing"."""
    kind = type(value)
    if value is None:
        return "nothing"
    if kind is tuple:
        return f"a tuple of {plural(len(value), 'value')}"
    if kind not in (Tensor, nn.Parameter):
        return kind_of(value)
    if value.is_nested:
        return "a nested tensor"
    sparse = "" if value.layout == torch.strided else "sparse "
    where = "" if value.device.type == "cpu" else f" on the device {value.device}"
    return f"a {sparse}tensor of shape {tuple(value.shape)}{where}"


def explain_kinds(right: Any, got: Any, method: str = "") -> str:
    """How the kind of a returned value differs from the right one's, as a sentence; empty where it does not."""
    who = method or "It"
    if got is None and right is not None:
        return f"{who} returns nothing. Is a `return` missing?"
    if describe_kind(got) != describe_kind(right):
        return f"{who} returns {describe_kind(got)}; it should return {describe_kind(right)}."
    if not isinstance(right, tuple) or not isinstance(got, tuple):
        return ""
    for number, (should, is_) in enumerate(zip(right, got, strict=True)):
        if describe_kind(is_) != describe_kind(should):
            name = getattr(right, "_fields", [f"value {i}" for i in range(len(right))])[number]
            is_, should = describe_kind(is_), describe_kind(should)
            return f"{who} returns {is_} for `{name}`; it should be {should}."
    return ""


def equal_tensors(right: Tensor, got: Tensor, tolerance: float) -> bool:
    """Whether all entries are equal up to `tolerance`; nan equals nan. Any number formats, the same shape."""
    return torch.allclose(_widen(got), _widen(right), rtol=tolerance, atol=tolerance, equal_nan=True)


def _explain_tensors(right: Tensor, got: Any, tolerance: float) -> str:
    if not isinstance(got, Tensor):
        # An answer that yields is read as a list.
        kind = "a list, or it yields its values one by one" if isinstance(got, list) else describe_kind(got)
        return f"It is {kind}; it should be a tensor of shape {tuple(right.shape)}."
    if got.is_nested or got.layout != torch.strided or got.device != right.device:
        return f"It is {describe_kind(got)}; it should be {describe_kind(right)}."
    if got.shape != right.shape:
        return f"Its shape is {tuple(got.shape)}; it should be {tuple(right.shape)}."
    if got.is_floating_point() and _is_whole(right):  # of which width, an exercise may leave open
        return f"Its numbers are {_dtype_name(got)}; they should be whole ones, as in {_dtype_name(right)}."
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


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _widen(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _write_apart(got: Any, right: Any) -> tuple[str, str]:
    """Both numbers, with four digits, or as many as it takes to see that they differ."""
    for n_digits in range(4, 18):
        written = tuple(
            f"{each + 0.0:.{n_digits}g}"
            if isinstance(each, float)
            else str(each)  # + 0.0: a zero has no sign
            for each in (got, right)
        )
        if written[0] != written[1]:
            break
    return written
