"""What a probe found: one invariant, whether it holds, and the evidence in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lab_utils.inspector.subject import one_line


@dataclass(frozen=True)
class Finding:
    """One invariant. `passed` is None where it does not apply to the module; `data` has the numbers for a picture."""

    name: str
    passed: bool | None
    evidence: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """ "pass", "FAIL" or "does not apply"."""
        if self.passed is None:
            return "does not apply"
        return "pass" if self.passed else "FAIL"


def ask(name: str, probe: Callable[[], Finding]) -> Finding:
    """The probe's finding. A module that raises an error has failed, and the error is the evidence."""
    try:
        return probe()
    except Exception as error:
        return Finding(name, False, f"Asked for this, it raises {one_line(error)}.")


def does_not_apply(name: str, why: str) -> Finding:
    """The finding for a module that does not have what the probe asks for."""
    return Finding(name, None, why)


def relative_difference(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected number. NaN anywhere gives NaN, which never passes."""
    if not expected.numel():
        return 0.0
    size = expected.abs().max().item()
    return (got - expected).abs().max().item() / (size or 1.0)


def amount(x: float | Tensor) -> str:
    """A number in two or three digits, whatever its size: 0.314 or 2.1e-07."""
    x = float(x)
    return f"{x:.3g}" if x == 0 or 1e-3 <= abs(x) < 1e5 else f"{x:.1e}"


def join_names(names: list[str], most: int = 4) -> str:
    """Names in a row, the last ones counted: a, b, c and 5 more."""
    shown = names if len(names) <= most + 1 else names[:most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
