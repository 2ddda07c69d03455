"""A folder of tokens on disk: what is in it, and reading it, which believes nothing that it cannot check.

    train.tokens  val.tokens    ids as uint16, or as uint32 where the vocabulary has more than 65,536
    val.roles  val.bits         storyworld and almanac: a uint8 and a float32 per token
    tokenizer.json  meta.json   meta.json has the size and the SHA-256 of every file

Every file is compared with its SHA-256 whenever a folder is read: 1 GB takes about a second. A file up to `HELD` bytes
is then kept in memory, so that no change of the file can reach a training. A larger one is mapped from disk.
"""

from __future__ import annotations

import hashlib
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from nanokimi.system import atomic
from nanokimi.system.printable import one_line, quote
from nanokimi.system.reading import read_small_json
from nanokimi.text import tokenizer
from nanokimi.text.storyworld import ROLES

LAYOUT = 2  # count it up whenever the files of a folder change
HELD = 10**9
_ARRAYS = ("train.tokens", "val.tokens", "val.roles", "val.bits")
_KINDS = {
    "val.roles": "uint8",
    "val.bits": "float32",
    "tokenizer.json": "uint8",
}  # of the others: meta.json's dtype
_LARGEST_META = 100_000  # bytes


class DamagedFolder(ValueError):
    """A folder of tokens that cannot be used; says why in a few words."""

    def __init__(self, why: object):
        super().__init__(one_line(why, 300))


@dataclass(frozen=True, kw_only=True)
class TokenFolder:
    """What a folder holds, checked. `arrays` has the tokens, and what is known of each, by the names of the files."""

    path: Path
    arrays: dict[str, np.ndarray]
    tokenizer: tiktoken.Encoding
    floor: float | None
    notes: list[str]


def write_meta(folder: Path, dtype: np.dtype, floor: float | None, notes: list[str]) -> None:
    """Write meta.json, the last file of a folder."""
    files = {file.name: [file.stat().st_size, _hash_file(file)] for file in sorted(folder.iterdir())}
    meta = {"layout": LAYOUT, "dtype": dtype.name, "floor": floor, "notes": notes, "files": files}
    atomic.write_json(folder / "meta.json", meta)


def read_folder(folder: Path) -> TokenFolder:
    """The folder's tokens and facts. `FileNotFoundError` where there is no folder, `DamagedFolder` for any fault."""
    folder.stat()
    try:
        dtype, floor, notes, files = _read_meta(folder)
        arrays = {}
        for name in (*_ARRAYS, "tokenizer.json"):
            if name in files:
                size, digest = files[name]
                arrays[name] = _read_file(folder / name, size, digest, _KINDS.get(name, dtype))
        del arrays["tokenizer.json"]
        encoding = tokenizer.load_tokenizer(folder / "tokenizer.json")
        _check_numbers(arrays, encoding.n_vocab)
    except OSError as error:
        raise DamagedFolder(f"{quote(folder.name)}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFolder(error) from None
    return TokenFolder(path=folder, arrays=arrays, tokenizer=encoding, floor=floor, notes=notes)


def _read_meta(folder: Path) -> tuple[str, float | None, list[str], dict[str, list[Any]]]:
    """The number format, the floor, the notes, and size and SHA-256 of each file; `ValueError` for anything else."""
    meta = read_small_json(folder / "meta.json", _LARGEST_META)
    if not isinstance(meta, dict) or meta.get("layout") != LAYOUT:
        raise ValueError("it was written by another version")
    dtype, floor, notes, files = (meta.get(key) for key in ("dtype", "floor", "notes", "files"))
    if dtype not in ("uint16", "uint32"):
        raise ValueError(f"meta.json has dtype={quote(dtype)}")
    if floor is not None and not (isinstance(floor, float) and math.isfinite(floor) and floor >= 0):
        raise ValueError(f"meta.json has floor={quote(floor)}")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError("meta.json has wrong notes")
    plain = {"train.tokens", "val.tokens", "tokenizer.json"}
    if not isinstance(files, dict) or set(files) not in (plain, plain | set(_ARRAYS)):
        raise ValueError("meta.json lists other files")
    if (set(files) != plain) != (floor is not None):
        raise ValueError("meta.json has a floor without facts, or facts without a floor")
    for name, facts in files.items():
        if not (isinstance(facts, list) and [type(fact) for fact in facts] == [int, str]):
            raise ValueError(f"meta.json has no size and SHA-256 of {name}")
    return dtype, floor, notes, files


def _read_file(path: Path, size: int, digest: str, dtype: str) -> np.ndarray:
    """The numbers of a file that has this size and this SHA-256."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size != size:
        raise ValueError(f"{path.name} has another size")
    if size % np.dtype(dtype).itemsize or size == 0:
        raise ValueError(f"{path.name} has no whole number of entries")
    if size <= HELD:
        data = path.read_bytes()
        numbers, found_digest = data, hashlib.sha256(data).hexdigest()
    else:
        numbers, found_digest = np.memmap(path, dtype="uint8", mode="r"), _hash_file(path)
    if found_digest != digest:
        raise ValueError(f"{path.name} is not what was written: its SHA-256 differs")
    return numbers.view(dtype) if isinstance(numbers, np.memmap) else np.frombuffer(numbers, dtype)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_numbers(arrays: dict[str, np.ndarray], n_vocab: int) -> None:
    """`ValueError` for what the digests cannot see: numbers that were wrong when the folder was written."""
    for name in ("train.tokens", "val.tokens"):
        if int(arrays[name].max()) >= n_vocab:
            raise ValueError(f"{name} has an id beyond the vocabulary of {n_vocab:,}")
    if "val.roles" in arrays:
        roles, bits = arrays["val.roles"], arrays["val.bits"]
        if not len(roles) == len(bits) == len(arrays["val.tokens"]):
            raise ValueError("val.roles, val.bits and val.tokens differ in length")
        if int(roles.max()) >= len(ROLES) or not (np.isfinite(bits).all() and bits.min() >= 0):
            raise ValueError("val.roles or val.bits have impossible values")
