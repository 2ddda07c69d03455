"""Files and folders that appear whole or not at all, whatever happens while they are written.

The content goes to a temporary name beside the target and takes the target's place in one step. Whoever reads finds
the old content or the new one, never a part of it.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITING = ".writing-"  # the names of unfinished files and folders begin with it; a killed process leaves them behind
DAY_S = 86_400.0


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
    """An empty folder to fill. At the end of the block it becomes `target`; after an exception nothing of it remains.

    `target` must not exist then, or be an empty folder: a full one cannot be replaced in one step (`OSError`).
    Missing folders above it are made, and deleted again after an exception.
    """
    missing = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=WRITING))
    try:
        os.chmod(temporary, 0o755)
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: somebody else uses it
                parent.rmdir()
        raise


def remove_folder(folder: Path) -> None:
    """Delete a folder. It disappears in one step, so nobody finds a part of it."""
    hidden = folder.with_name(f"{WRITING}{uuid.uuid4().hex}")
    os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left unfinished in `folder`: all of it that is older than a day."""
    for left in folder.glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another process removes it at the same time
            if time.time() - left.stat().st_mtime > DAY_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
