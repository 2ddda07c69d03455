"""Why a benchmark could not go on, in one line: memory that ran out, files that cannot be written."""

from __future__ import annotations

import re
from pathlib import Path

from lab_utils.bench.plan import Plan
from nanokimi.cli.memory import SHORTAGE
from nanokimi.system.printable import quote

# What a cell of the notebook says where a file cannot be written.
NOT_WRITTEN = re.compile(
    r"cell \d+: (?:(?:CheckpointError|LogError): .* cannot be written: ([^;]+)|(?:OSError|PermissionError): "
    r"\[Errno \d+\] ([^:]+))"
)
GONE = re.compile(r"cell \d+: (?:CheckpointError|LogError): folder '(.*)' is gone: ")


def explain(reason: str, plan: Plan) -> str:
    """Why the notebook failed; where memory ran out, with the sizes that need it."""
    if not any(words in reason.lower() for words in SHORTAGE):
        return reason
    training = plan.arms[0].train
    return (
        f"out of memory with batch_size={training.batch_size} and seq_len={training.seq_len} of profile "
        f"{plan.profile}: close other programs, or take a smaller profile or fewer arms"
    )


def explain_files(folder: Path, cause: str | None, name: str | None = None) -> str:
    """Why a file could not be written, in the run's folder or at `name`, what remains, and how to go on."""
    if cause is None or not folder.exists():
        return f"folder {quote(str(folder))} is gone: it was deleted or moved while the benchmark ran; begin it again"
    return (
        f"{quote(str(name or folder))} cannot be written: {cause}; what was done so far is in {quote(str(folder))}; "
        "free some space, or name another folder with --out, and begin again"
    )
