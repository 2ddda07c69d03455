"""In which formats a case has its numbers, and an answer its results."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.differences import describe_kind
from lab_utils.course.exercise import Case, Parts

# How torch's errors call the formats.
CALLED = {"bfloat16": "bfloat16", "float": "float32", "double": "float64", "half": "float16"}
ROOM_FOR_BFLOAT16 = 0.05  # between results that were rounded to 8 bits, several times perhaps


def is_rare(case: Case) -> bool:
    """Whether a case asks for a format or a device beside the usual ones."""
    formats = [arg.dtype for arg in case.args if isinstance(arg, Tensor)]
    return torch.float64 in formats or torch.device("meta") in [
        arg for arg in case.args if isinstance(arg, torch.device)
    ]


def has_bfloat16(case: Case) -> bool:
    """Whether one of the arguments is in bfloat16."""
    return any(isinstance(arg, Tensor) and arg.dtype == torch.bfloat16 for arg in case.args)


def widen(case: Case) -> Case:
    """The case with float32 in the place of bfloat16."""
    return replace(case, args=tuple(_widen(arg) for arg in case.args))


def _widen(arg: Any) -> Any:
    return arg.float() if isinstance(arg, Tensor) and arg.dtype == torch.bfloat16 else arg


def say_formats_met(problem: str) -> str:
    """What an error of torch's about two number formats means, as a sentence; empty where it is about another thing."""
    if "dtype" not in problem and "scalar type" not in problem:
        return ""
    words = re.findall("|".join(CALLED), problem, re.IGNORECASE)
    met = list(dict.fromkeys(CALLED[word.lower()] for word in words))
    if len(met) != 2:
        return ""
    says = f"There numbers in {met[0]} meet numbers in {met[1]}."
    others = [each for each in met if each != "float32"]
    if len(others) == 1:
        larger = "float64" if others == ["float64"] else "float32"
        says += f" Without a dtype torch.zeros or torch.full gives float32, and the sum of both formats is {larger}."
    return says


def formats_of(parts: Parts) -> dict[str, tuple[str, Any]]:
    """What each part is, and in which format it has its numbers."""
    return {
        name: (describe_kind(part), part.dtype if isinstance(part, Tensor) else None)
        for name, part in parts.items()
    }


def like(right: Parts, parts: Parts) -> Parts:
    """Those of the parts that the right ones have too, tensors in the formats of these."""
    return {
        name: parts[name].to(value.dtype) if isinstance(value, Tensor) else parts[name]
        for name, value in right.items()
        if isinstance(parts.get(name), type(value))
    }
