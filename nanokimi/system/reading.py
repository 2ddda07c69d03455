"""Small files from outside, read within bounds: settings, notes and records, as text or as JSON.

A name may stand for anything: a folder, a pipe that never ends, a file of gigabytes, bytes that are no text. Whatever
it is, it is refused in one line before it takes time or memory.
"""

import json
import math
import stat
from pathlib import Path
from typing import Any

from nanokimi.system.printable import OneLineError, quote

_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # how a text in it begins


class UnreadableFile(OneLineError):
    """A file that cannot be used: one line that names it and says why."""

    def __init__(self, path: str | Path, reason: object):
        super().__init__(f"file {path} {reason}")


def read_small_text(path: str | Path, most: int) -> str:
    """The text of a UTF-8 file of at most `most` bytes, without a byte order mark.

    Raises `UnreadableFile` where there is no such file, and for folders, pipes, devices, larger files and other bytes.
    """
    if "\0" in str(path):
        raise UnreadableFile(quote(str(path)), "cannot exist: its name has a zero byte")
    try:
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):
            raise UnreadableFile(
                path, "is a folder" if stat.S_ISDIR(kind) else "is no file but a device or a pipe"
            )
        with open(path, "rb") as file:
            content = file.read(most + 1)  # some systems show endless files as empty ones
    except FileNotFoundError:
        raise UnreadableFile(path, "does not exist") from None
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read: {error.strerror}") from None
    if len(content) > most:
        raise UnreadableFile(path, f"has more than {most:,} bytes, so it is not what it should be")
    if content[:2] in _UTF16:
        raise UnreadableFile(path, "is UTF-16 text: save it as UTF-8")
    if b"\x00" in content:
        raise UnreadableFile(path, f"has a zero byte at position {content.index(0)}: it is no text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, f"is not UTF-8 at byte {error.start}: save it as UTF-8") from None


class _NotFinite(Exception):
    """A number that JSON does not have, as it is written in the file."""


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):  # NaN, Infinity and 1e999
        raise _NotFinite(written[:80])
    return number


def read_small_json(path: str | Path, most: int) -> Any:
    """What a JSON file of at most `most` bytes holds; `UnreadableFile` as in `read_small_text`, and for other text."""
    text = read_small_text(path, most)
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise UnreadableFile(path, f"is damaged: line {error.lineno} is no JSON") from None
    except RecursionError:
        raise UnreadableFile(path, "is damaged: it is nested too deeply") from None
    except _NotFinite as error:
        raise UnreadableFile(path, f"is damaged: it holds {error}, which is no finite number") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise UnreadableFile(path, "is damaged: it has a number of thousands of digits") from None
