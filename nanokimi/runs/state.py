"""How far a training is, as a checkpoint tells it, and whether it is the same training."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanokimi.config import ConfigError
from nanokimi.steering import Intervention
from nanokimi.system.printable import OneLineError, quote

_MOST_STEPS = 10**12


class CheckpointError(OneLineError):
    """A checkpoint that is missing, damaged or cannot be written: one line that says which and what to do."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, which its configuration does not say."""

    step: int
    seconds: float
    corpus_fingerprint: str
    interventions: tuple[Intervention, ...] = ()  # what was changed on the way: with any, the run was steered

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return vars(self) | {"interventions": [each.to_dict() for each in self.interventions]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrainingState":
        """The inverse of `to_dict`; `ValueError` or `TypeError` for what `to_dict` cannot have written."""
        step, seconds, fingerprint = (data[name] for name in ("step", "seconds", "corpus_fingerprint"))
        if type(step) is not int or not 0 <= step <= _MOST_STEPS:
            raise ValueError(f"step={quote(step)} must be a whole number of 0 or more")
        if type(seconds) not in (int, float) or not 0 <= seconds < 1e300:
            raise ValueError(f"seconds={quote(seconds)} must be a number of 0 or more")
        if not isinstance(fingerprint, str) or len(fingerprint) > 200:
            raise ValueError(f"corpus_fingerprint={quote(fingerprint)} must be a text of at most 200 letters")
        made = tuple(Intervention(**each) for each in data.get("interventions", ()))
        return cls(**{**data, "seconds": float(seconds), "interventions": made})


def name_cause(error: Exception) -> str:
    """What the system said, without what Python and safetensors put around it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return re.sub(r"^.*I/O error: | \(os error \d+\)", "", str(error))


def refuse_other(run_dir: Path, what: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Raise `ConfigError`, which names the first difference, unless both are the same settings."""
    if what == "corpus" and theirs != ours:
        raise ConfigError(
            f"cannot resume {quote(str(run_dir))}: the corpus has changed since the run began: put the old text and "
            "tokenizer back, or begin a new run in another folder"
        )
    theirs, ours = _flatten(theirs), _flatten(ours)
    for field in ours:
        if theirs.get(field) != ours[field]:
            raise ConfigError(
                f"cannot resume {run_dir}: its {what} has {field}={quote(theirs.get(field))}, "
                f"yours {quote(ours[field])}"
            )


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full names: `optim.lr`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inside = isinstance(value, dict)
        found |= _flatten(value, f"{prefix}{name}.") if inside else {f"{prefix}{name}": value}
    return found
