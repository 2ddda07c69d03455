"""Files and folders that appear whole or not at all, whatever happens while they are written.

The content goes to a temporary name beside the target and takes the target's place in one step. Whoever reads finds
the old content or the new one, never a part of it.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITING = (
    ".writing-"  # how the names of unfinished files and folders begin; a killed process leaves them behind
)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file; missing folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=WRITING)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp's own rights would hide the file from everybody else
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON. `ValueError` for nan and inf, which JSON does not have; nothing is written then."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill; at the end of the block it becomes `target`, after an exception it is deleted.

    `target` must not exist then, or be an empty folder: a full one cannot be replaced in one step.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=WRITING))
    try:
        os.chmod(temporary, 0o755)
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
