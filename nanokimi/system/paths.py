"""The names of files and folders among settings and arguments: types that pydantic checks."""

import os
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator

P = TypeVar("P", str, Path)


def _can_exist(path: P) -> P:
    """The path; `ValueError` for a text that no file system takes as a name."""
    if "\0" in str(path):
        raise ValueError("must be a path, and no path has a zero byte")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ValueError("must be a path, and no path has half a letter") from None
    return path


def _has_name(path: str) -> str:
    """The path; `ValueError` for an empty text, which would be the current folder."""
    if not path.strip():
        raise ValueError("must name a folder")
    return path


PathText = Annotated[str, AfterValidator(_can_exist)]
FolderText = Annotated[PathText, AfterValidator(_has_name)]
AnyPath = Annotated[str | Path, AfterValidator(_can_exist)]
