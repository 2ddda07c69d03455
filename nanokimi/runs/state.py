"""How far a training is, as a checkpoint tells it, and whether it is the same training."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanokimi.config import ConfigError
from nanokimi.steering import Intervention
from nanokimi.system.printable import OneLineError, quote

# Where no checkpoint of a run loads.
BEGIN_ANEW = "put a whole copy back, or begin a new run in another folder"
# Settings of a training that say where and how it computes, not what: a run may go on with others.
MAY_DIFFER = ("device", "compile", "recompute")
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
    def from_dict(cls, data: object) -> "TrainingState":
        """The inverse of `to_dict`; `ValueError`, in one line, for what `to_dict` cannot have written."""
        found = read_section(data, "progress", ("step", "seconds", "corpus_fingerprint"), ("interventions",))
        step, seconds, fingerprint = found["step"], found["seconds"], found["corpus_fingerprint"]
        if type(step) is not int or not 0 <= step <= _MOST_STEPS:
            raise ValueError(f"step={quote(step)} must be a whole number from 0 to {_MOST_STEPS:,}")
        if type(seconds) not in (int, float) or not 0 <= seconds < 1e300:
            raise ValueError(f"seconds={quote(seconds)} must be a number from 0 to 1e300")
        if not isinstance(fingerprint, str) or len(fingerprint) > 200:
            raise ValueError(f"corpus_fingerprint={quote(fingerprint)} must be a text of at most 200 letters")
        listed, made = found.get("interventions", []), []
        if not isinstance(listed, list):
            raise ValueError(f"progress.interventions must be a list, not {quote(listed, 80)}")
        for i, each in enumerate(listed):
            each = read_section(each, f"progress.interventions.{i}", ("step", "what", "value"))
            made.append(Intervention(**each))
            if made[-1].step > step:
                raise ValueError(f"the intervention at step {quote(made[-1].step)} is after step={step}")
        return cls(step, float(seconds), fingerprint, tuple(made))


def check_section(value: object, where: str) -> dict[str, Any]:
    """The object of a JSON file; `ValueError`, which begins with `where`, for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a section of named values, not {quote(value, 80)}")
    return value


def read_section(
    value: object, where: str, needed: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Any]:
    """The object of a JSON file that has these names and no others; else `ValueError`, which begins with `where`."""
    found = check_section(value, where)
    for name in needed:
        if name not in found:
            raise ValueError(f"{where}: {name} is missing")
    for name in found:
        if name not in (*needed, *optional):
            raise ValueError(f"{where}: {quote(name, 80)} does not belong there")
    return found


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
    for field in ours | theirs:
        # A newer setting is not written where it has its default.
        if theirs.get(field) != ours.get(field):
            its, yours = (quote(cfg[field]) if field in cfg else "its default" for cfg in (theirs, ours))
            raise ConfigError(f"cannot resume {run_dir}: its {what} has {field}={its}, yours {yours}")


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their full names: `optim.lr`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inside = isinstance(value, dict)
        found |= _flatten(value, f"{prefix}{name}.") if inside else {f"{prefix}{name}": value}
    return found
