"""Where text comes from: the embedded storyworld, TinyStories, or files of yours, as one stream of documents.

Every source answers three questions: what is it called, what tells it from others *without reading its text*
(`identity`), and which documents does it hold, in which order, and which of them are for validation.

Text from outside is data. Files are cut at the string `<|endoftext|>`, white space around a document goes,
empty documents go, `\\r\\n` becomes `\\n`, a byte order mark goes; nothing else is changed. A text is read in
blocks, so memory is bounded by its longest document, not by its length.

Which documents are for validation:

1. TinyStories, and folders that hold files named like `valid.txt`, `my-valid.txt` or `val.txt`: their own split.
2. One file without a separator: its first 90 % of characters for training, the rest for validation.
3. All else: a twentieth, chosen by a hash of the text, so equal documents always stand on the same side.
"""

from __future__ import annotations

import codecs
import difflib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nanokimi.config import DataConfig
from nanokimi.deadline import call_within
from nanokimi.text import storyworld
from nanokimi.text.tokenizer import END_OF_TEXT, pieces

SOURCES = ("storyworld", "tinystories")
BLOCK = 1 << 20  # characters read at a time
PIECE = 1 << 19  # characters handed on at a time, at most
VALIDATION_SHARE = 0.05
FEW = 500  # with more documents than this, a share of 5 % is empty once in 10^11 corpora
_VALIDATION_FILE = re.compile(r"(^|[^a-z])val(id|idation)?([^a-z]|$)")


class TextError(ValueError):
    """A text that cannot be used: one line that names it, what is wrong and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text, or a piece of one: `closed` says that it ends here and `<|endoftext|>` follows.

    `roles` and `bits` hold one number a UTF-8 byte and come with storyworld only.
    """

    text: str
    validation: bool
    closed: bool = True
    roles: np.ndarray | None = None
    bits: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A stream of documents that can be started again and again, and what is known before it is read."""

    name: str
    identity: dict[str, Any]  # equal identities, equal text: found without reading any
    fixed: bool  # the identity alone fixes the text; False for files, whose text is hashed when it is read
    size: int | None  # bytes of text, where known
    documents: Callable[[], Iterator[Document]]


def open_source(cfg: DataConfig) -> Source:
    """The source that `cfg.source` names. Reads no text; raises `TextError` where there is no such thing."""
    if cfg.source == "storyworld":
        return _storyworld(cfg)
    if cfg.source == "tinystories":
        return _tinystories()
    return _files(cfg.source)


# ---------------------------------------------------------------- storyworld


def _storyworld(cfg: DataConfig) -> Source:
    def documents() -> Iterator[Document]:
        world = storyworld.World(cfg.seed, cfg.n_characters)
        for story in storyworld.generate(world, cfg.n_stories, cfg.seed, workers=os.cpu_count() or 1):
            yield Document(
                text=story.text,
                validation=_hash(story.text) < VALIDATION_SHARE,
                roles=np.frombuffer(story.roles, dtype=np.uint8),
                bits=np.asarray(story.bits, dtype=np.float32),
            )

    identity = {
        "source": "storyworld",
        "grammar": _code(Path(storyworld.__file__).parent),
        "seed": cfg.seed,
        "n_characters": cfg.n_characters,
        "n_stories": cfg.n_stories,
    }
    return Source(name="storyworld", identity=identity, fixed=True, size=None, documents=documents)


def _code(folder: Path) -> str:
    """A hash of the grammar as it is written down: whoever edits it gets other stories, so another corpus."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# ---------------------------------------------------------------- TinyStories from the Hugging Face hub


def _tinystories() -> Source:
    """`roneneldan/TinyStories` (Eldan & Li 2023), 2.1 M stories, 1.9 GB, with its own validation split.

    Its name is its identity: the published set is taken as final. Delete the cache to fetch it anew.
    """

    def documents() -> Iterator[Document]:
        stories = _download("roneneldan/TinyStories")
        for split, validation in (("train", False), ("validation", True)):
            for rows in stories[split].iter(batch_size=1000):
                for text in filter(None, map(_clean, rows["text"])):
                    yield Document(text=text, validation=validation)

    identity = {"source": "tinystories"}
    return Source(name="tinystories", identity=identity, fixed=True, size=None, documents=documents)


def _download(name: str, wait_s: float = 5.0) -> Any:
    """The data set through `datasets`, which keeps it on disk. Without a network: its copy, else `TextError`."""
    try:
        import datasets
        import huggingface_hub
    except ImportError:
        raise TextError(
            "source='tinystories' needs the package datasets; `pip install datasets`, "
            "or use source='storyworld' or the path of a text file or folder"
        ) from None
    # Left alone, the library retries for half a minute, and prints; so we ask once, and decide by the answer.
    try:
        call_within(2 * wait_s, lambda: huggingface_hub.HfApi().dataset_info(name, timeout=wait_s))
        online = True
    except Exception:  # refused, unresolved, timed out, forbidden: all mean that there is nothing to fetch
        online = False
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not online
    try:
        return datasets.load_dataset(name)
    except Exception as error:
        why = type(error).__name__ if online else "no network"
        raise TextError(
            f"source='tinystories': cannot get {name} from the Hugging Face hub ({why}) and there is no copy "
            "on this machine; use source='storyworld', which needs no network, or the path of a text file or "
            "folder"
        ) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = before


# ---------------------------------------------------------------- files


def _files(source: str) -> Source:
    path = Path(source).expanduser()
    files = _text_files(path, source)
    found = [(file, file.stat()) for file in files]
    identity = {"files": [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in found]}
    size = sum(stat.st_size for _, stat in found)
    name = path.resolve().name
    return Source(name=name, identity=identity, fixed=False, size=size, documents=lambda: _split(files))


def _text_files(path: Path, source: str) -> list[Path]:
    allowed = (
        "allowed: storyworld, tinystories, or the path of a UTF-8 text file or of a folder of .txt files"
    )
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.match("[!.]*.txt") and f.is_file())
        if not files:
            raise TextError(f"folder {path} holds no .txt file; {allowed}")
    elif path.is_file():
        files = [path]
    else:
        close = difflib.get_close_matches(source, SOURCES, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise TextError(f"source={source!r}: no such file or folder; {hint}{allowed}")
    if not any(file.stat().st_size for file in files):
        raise TextError(f"{path} is empty; give a text of at least a few thousand characters")
    return files


def _split(files: list[Path]) -> Iterator[Document]:
    """The documents of the files, each on its side of the split (the rules stand at the top)."""
    by_name = [bool(_VALIDATION_FILE.search(file.stem.lower())) for file in files]
    if any(by_name) and not all(by_name):
        for file, validation in zip(files, by_name):
            for raw in _raw_documents([file]):
                if text := _clean(raw):
                    yield from _in_pieces(text, validation)
        return

    first = list(islice(_raw_documents(files), FEW))
    hashes = [_hash(text) for raw in first if (text := _clean(raw))]
    if not hashes and len(first) < FEW:
        raise TextError(f"{files[0]} holds no text; give a text of at least a few thousand characters")
    if len(first) == 1:
        (text,) = first
        cut = int(0.9 * len(text))
        yield from _in_pieces(text[:cut], False, closed=False)
        yield from _in_pieces(text[cut:], True, closed=False)
        return

    # Of a few documents the twentieth may be none; then the one with the lowest hash stands for it.
    limit = VALIDATION_SHARE
    if len(first) < FEW:
        limit = max(limit, min(hashes) + 2**-53)
    for raw in _raw_documents(files):
        if text := _clean(raw):
            yield from _in_pieces(text, _hash(text) < limit)


def _in_pieces(text: str, validation: bool, closed: bool = True) -> Iterator[Document]:
    """One document as pieces that are tokenized by themselves, so that a long one needs little memory."""
    parts = list(pieces(text, PIECE))
    for i, part in enumerate(parts):
        yield Document(text=part, validation=validation, closed=closed and i == len(parts) - 1)


def _hash(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _clean(text: str) -> str:
    return text.strip()


def _raw_documents(files: list[Path]) -> Iterator[str]:
    for file in files:
        yield from _cut(_blocks(file))


def _cut(blocks: Iterator[str]) -> Iterator[str]:
    """The text between separators, which may straddle two blocks."""
    open_parts: list[str] = []
    held = ""
    for block in blocks:
        *complete, rest = (held + block).split(END_OF_TEXT)
        for part in complete:
            yield "".join(open_parts) + part
            open_parts.clear()
        # The last characters may begin a separator, so they wait for the next block.
        keep = min(len(rest), len(END_OF_TEXT) - 1)
        open_parts.append(rest[: len(rest) - keep])
        held = rest[len(rest) - keep :]
    yield "".join(open_parts) + held


def _blocks(file: Path) -> Iterator[str]:
    try:
        with open(file, encoding="utf-8-sig") as f:
            while block := f.read(BLOCK):
                yield block
    except UnicodeDecodeError as error:
        position, byte = _bad_byte(file)
        raise TextError(
            f"file {file} is not UTF-8 text: byte {byte:#04x} at position {position} ({error.reason}); "
            "convert it first, e.g. iconv -f latin1 -t utf-8"
        ) from None
    except OSError as error:
        raise TextError(
            f"file {file} cannot be read: {error.strerror}; check the file and its rights"
        ) from None


def _bad_byte(file: Path) -> tuple[int, int]:
    """Position and value of the first byte that is no UTF-8 (an error while reading knows its block only)."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with open(file, "rb") as f:
        while True:
            block = f.read(BLOCK)
            waiting = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return read - len(waiting) + error.start, (waiting + block)[error.start]
            if not block:
                raise TextError(f"file {file} changed while it was read; start again")
            read += len(block)
