"""The folder of one run of the benchmark: where it may be made, and a name that is free."""

from __future__ import annotations

import datetime
from pathlib import Path

from nanokimi.config import ConfigError
from nanokimi.system.printable import quote


def check_writable(out: Path) -> Path:
    """The same path; `ConfigError` where a file stands in it."""
    for place in (out, *out.parents):
        if place.exists():
            if not place.is_dir():
                raise ConfigError(f"--out={quote(str(out))}: {place} is a file; name a folder")
            break
    return out


def new_folder(out: Path) -> Path:
    """A new folder out/<time>, with a number added if that name is taken."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (now, *(f"{now}-{i}" for i in range(2, 100))):
            if not (out / name).exists():
                (out / name).mkdir()
                return out / name
    except OSError as error:
        raise ConfigError(f"--out={quote(str(out))} cannot be written: {error.strerror}") from None
    raise ConfigError(
        f"--out={quote(str(out))} already holds 99 runs that began in this second; name another folder"
    )
