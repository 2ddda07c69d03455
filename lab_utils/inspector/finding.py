"""What a probe found out: one invariant, whether it holds, and the evidence in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lab_utils.inspector.subject import Subject, one_line


@dataclass(frozen=True)
class Finding:
    """`passed` is None where the invariant does not apply to this module; `data` has the numbers behind a picture."""

    name: str
    passed: bool | None
    evidence: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.passed is None:
            return "does not apply"
        return "pass" if self.passed else "FAIL"


def ask(name: str, probe: Callable[[], Finding]) -> Finding:
    """The probe's finding; a module that raises on the way has failed, and what it raised is the evidence."""
    try:
        return probe()
    except Exception as error:
        return Finding(name, False, f"Asked for this, it raises {one_line(error)}.")


def does_not_apply(name: str, why: str) -> Finding:
    return Finding(name, None, why)


def relative(got: Tensor, wanted: Tensor) -> float:
    """The largest difference, in units of the largest wanted number; NaN anywhere gives NaN, which passes no test."""
    if not wanted.numel():
        return 0.0
    size = wanted.abs().max().item()
    return (got - wanted).abs().max().item() / (size or 1.0)


def same(got: Tensor, wanted: Tensor, subject: Subject) -> bool:
    return got.shape == wanted.shape and relative(got, wanted) <= subject.tolerance


def amount(x: float | Tensor) -> str:
    """0.3142 or 2.1e-07: two or three digits, whatever the size."""
    x = float(x)
    return f"{x:.3g}" if x == 0 or 1e-3 <= abs(x) < 1e5 else f"{x:.1e}"


def plural(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def listed(names: list[str], most: int = 4) -> str:
    """a, b, c and 5 more."""
    shown = names if len(names) <= most + 1 else names[:most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
