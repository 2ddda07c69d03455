"""Files and folders that appear whole or not at all, whatever happens while they are written: a power cut too.

The content goes to a temporary name beside the target, is synced to the disk, and takes the target's place in one step.
Whoever reads finds the old content or the new one, never a part of it. What a function here has written is on the disk
when the function returns.
"""

import contextlib
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITING = ".writing-"  # the names of unfinished files and folders begin with it; a killed process leaves them behind
DAY_S = 86_400.0


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file; missing folders above it are made. A link in its place is replaced, not followed."""
    make_folder(path.parent)
    temporary = _beside(path)
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            _sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON. `ValueError` for nan and inf, which JSON does not have; nothing is written then."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill. At the end of the block it becomes `target`; after an exception nothing of it remains.

    `target` must not exist then, or be an empty folder: a full one cannot be replaced in one step (`OSError`).
    Missing folders above it are made, and deleted again after an exception. Who may read the files is what the umask
    says, whoever has written them: safetensors hides its own from everybody else.
    """
    missing = make_folder(target.parent)
    temporary = _beside(target)
    try:
        temporary.mkdir()
        yield temporary
        _share_all(temporary)
        _sync_all(temporary)
        os.replace(temporary, target)
        sync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        remove_empty(missing)
        raise


def make_folder(folder: Path) -> list[Path]:
    """Make `folder` and what is missing above it, on the disk too; the folders that were missing, the deepest first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        sync(made.parent)
    return missing


def remove_folder(folder: Path) -> None:
    """Delete a folder, or a link or file in its place. It disappears in one step, so nobody finds a part of it."""
    hidden = _beside(folder)
    os.replace(folder, hidden)
    sync(folder.parent)  # else a power cut could bring back the old name with some of its files
    _delete(hidden)


def remove_leftovers(folder: Path, older_than_s: float = DAY_S) -> None:
    """Delete what killed processes left unfinished in `folder`: all of it that is older than so many seconds."""
    for left in folder.glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another process removes it at the same time
            if time.time() - left.lstat().st_mtime >= older_than_s:
                _delete(left)


def remove_empty(folders: list[Path]) -> None:
    """Delete the folders that are empty, in this order: the deepest comes first."""
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty: somebody else uses it
            folder.rmdir()


def sync(path: Path) -> None:
    """Wait until a file's content, or the list of names in a folder, is on the disk."""
    on_windows = os.name == "nt"
    if on_windows and path.is_dir():
        return  # Windows keeps the names of a folder by itself, and opens no folder
    handle = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _beside(target: Path) -> Path:
    """A new name for what becomes `target`."""
    return target.with_name(f"{WRITING}{uuid.uuid4().hex}")


def _share_all(folder: Path) -> None:
    """Give every file in `folder`, which was just made, the rights that the umask gives to a new file."""
    # The umask itself cannot be read without changing it for all threads; the new folder shows it.
    rights = folder.stat().st_mode & 0o666
    for here, _, files in os.walk(folder):
        for name in files:
            os.chmod(Path(here) / name, rights)


def _sync(handle: int) -> None:
    """Sync an open file; a file system that cannot is left alone, since nothing more can be done."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _sync_all(folder: Path) -> None:
    """Sync every file and folder in `folder`, and itself last."""
    for here, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(here) / name)
        sync(Path(here))


def _delete(path: Path) -> None:
    """Delete a file, a link or a folder, as far as that is possible; what a link points to stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
