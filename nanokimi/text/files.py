"""Text files: which ones a path names, and their documents.

Text from outside is data. A file is UTF-8; one that is not is refused, and the line says how to convert it. Files are
cut at the string `<|endoftext|>`. In a file that has it, white space around a document goes; a file without it is one
document and stays as it is, to its last line's end. Documents of white space alone are left out, and so is a byte
order mark at the start of a file. Nothing else changes.

A text is read in blocks, so the longest document limits the memory, not the whole text.
"""

from __future__ import annotations

import codecs
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nanokimi.system.printable import OneLineError, quote
from nanokimi.text.tokenizer import END_OF_TEXT

BLOCK = 1 << 20  # bytes read at a time
ALLOWED = "the path of a UTF-8 text file, or of a folder of .txt files"
FEW_ZEROS = 0.01  # of the bytes: a text in UTF-16 has a quarter and more

# How a file of another kind begins, what it is, and what makes a text of it. UTF-32 comes before UTF-16.
_CONVERT = "convert it first: iconv -f {0} -t UTF-8 OLD > NEW"
_MARKS = {
    b"\xff\xfe\x00\x00": ("UTF-32 text", _CONVERT.format("UTF-32")),
    b"\x00\x00\xfe\xff": ("UTF-32 text", _CONVERT.format("UTF-32")),
    b"\xff\xfe": ("UTF-16 text", _CONVERT.format("UTF-16")),
    b"\xfe\xff": ("UTF-16 text", _CONVERT.format("UTF-16")),
    b"\x1f\x8b": ("packed by gzip", "unpack it first: gzip -dc OLD > NEW"),
    b"PK\x03\x04": ("an archive (.zip, .docx, .epub)", "save it as plain text first"),
}


class TextError(OneLineError):
    """A text that cannot be used: one line that says which text, what is wrong and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file as it was found. When it is another one after reading, it was changed meanwhile."""

    path: Path
    size: int
    changed_ns: int  # since 1970

    @property
    def for_validation(self) -> bool:
        """Whether the name says so: one of its words, of letters of any script, is val, valid or validation."""
        stem = unicodedata.normalize("NFC", self.path.stem.lower())
        # A mark (an accent that has no letter of its own, a vowel sign) belongs to the letter before it.
        letters = (c if c.isalpha() or unicodedata.category(c).startswith("M") else " " for c in stem)
        return not {"val", "valid", "validation"}.isdisjoint("".join(letters).split())


def find_text_files(path: Path) -> tuple[list[TextFile], str | None]:
    """The file that `path` names, or the .txt files of the folder, and a line about what the folder leaves out.

    `TextError` where there is no text.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISDIR(kind):
            if not stat.S_ISREG(kind):
                raise TextError(f"{quote(str(path))} is no file but a device or a pipe; give {ALLOWED}")
            files, left_out = [path], None
        else:
            files, left_out = _list_folder(path)
        found = [TextFile(path=f, size=f.stat().st_size, changed_ns=f.stat().st_mtime_ns) for f in files]
    except OSError as error:
        raise TextError(f"{quote(str(path))} cannot be read: {error.strerror}; give {ALLOWED}") from None
    if not files:
        beside = f" ({left_out})" if left_out else ""
        raise TextError(f"folder {quote(str(path))} holds no .txt file{beside}; give {ALLOWED}")
    if not any(file.size for file in found):
        raise TextError(f"{quote(str(path))} is empty; give a text of at least a few thousand characters")
    return found, left_out


def _list_folder(folder: Path) -> tuple[list[Path], str | None]:
    """The text files directly in a folder, and a line about the others."""
    root = os.path.realpath(folder)
    files: list[Path] = []
    others: Counter[str] = Counter()
    example: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            reason = "hidden"
        elif path.is_dir():
            reason = "folders"
        elif path.suffix.lower() != ".txt":
            reason = "not named .txt"
        elif not path.is_file():
            reason = "no files"  # a pipe, a device, a link to nothing
        elif os.path.commonpath([root, os.path.realpath(path)]) != root:
            reason = "links that lead out of it"
        else:
            files.append(path)
            continue
        others[reason] += 1
        example.setdefault(reason, quote(path.name, 40))
    if not others:
        return files, None
    parts = [f"{reason} ({n:,}: {example[reason]}{', ...' if n > 1 else ''})" for reason, n in others.items()]
    return files, f"left out of folder {quote(folder.name)}: {'; '.join(parts)}"


def read_documents(file: TextFile, say: Callable[[str], None]) -> Iterator[str]:
    """The text of each document of a file. `say` hears a line when something is removed."""
    open_parts: list[str] = []
    held, separated = "", False
    for block in read_blocks(file, say):
        *complete, rest = (held + block).split(END_OF_TEXT)
        for part in complete:
            separated = True
            if text := ("".join(open_parts) + part).strip():
                yield text
            open_parts.clear()
        # A separator may begin in one block and end in the next: the last characters wait.
        keep = min(len(rest), len(END_OF_TEXT) - 1)
        open_parts.append(rest[: len(rest) - keep])
        held = rest[len(rest) - keep :]
    text = "".join(open_parts) + held
    if text.strip():
        yield text.strip() if separated else text


def read_blocks(file: TextFile, say: Callable[[str], None]) -> Iterator[str]:
    """The text of a file in blocks.

    `TextError` for a file that is not UTF-8, cannot be read, or is changed while it is read.
    """
    name = f"file {quote(str(file.path))}"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(file.path, "rb") as f:
            head = f.read(4)
            for mark, (what, cure) in _MARKS.items():
                if head.startswith(mark):
                    raise TextError(f"{name} is {what}; {cure}")
            done = 3 if head.startswith(codecs.BOM_UTF8) else 0
            if done:
                say(f"the byte order mark of {name} is left out")
            f.seek(done)
            while True:
                data = f.read(BLOCK)
                _refuse_zeros(data, name)
                waiting = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    raise TextError(
                        f"{name} is not UTF-8 text: byte {error.object[error.start]:#04x} at position "
                        f"{done - waiting + error.start} ({error.reason}); "
                        "if it is an old text of western Europe, " + _CONVERT.format("WINDOWS-1252")
                    ) from None
                if text:
                    yield text
                if not data:
                    break
                done += len(data)
            now = os.fstat(f.fileno())
    except OSError as error:
        raise TextError(
            f"{name} cannot be read: {error.strerror}; check the file and its permissions"
        ) from None
    if (now.st_size, now.st_mtime_ns) != (file.size, file.changed_ns):
        raise TextError(f"{name} was changed while it was read; start again")


def _refuse_zeros(data: bytes, name: str) -> None:
    """`TextError` for a block with many zero bytes, which no text in UTF-8 has."""
    zeros = data.count(0)
    if zeros <= FEW_ZEROS * len(data):
        return
    # Letters below U+0100 have zeros at the same places.
    places = [i for i in range(4) if data[i::4].count(0) > len(data) / 8]
    kinds = {"UTF-16LE": [1, 3], "UTF-16BE": [0, 2], "UTF-32LE": [1, 2, 3], "UTF-32BE": [0, 1, 2]}
    looks = next((kind for kind, zero in kinds.items() if zero == places), None)
    guess = (
        f"it looks like {looks}: {_CONVERT.format(looks)}"
        if looks
        else "it looks like no text; give " + ALLOWED
    )
    raise TextError(f"{name} has zero bytes, {zeros:,} of {len(data):,}; {guess}")
