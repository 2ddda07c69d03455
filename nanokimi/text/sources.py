"""Text as one stream of documents: from the embedded storyworld, from TinyStories, or from your own files.

Each source has a name, an identity that tells it from others *without reading its text*, and its documents in a
fixed order. Each document belongs to the training split or to the validation split.

Text from outside is data. Files are cut at the string `<|endoftext|>`. White space around a document, empty
documents and a byte order mark are removed, and `\\r\\n` becomes `\\n`; nothing else changes. A text is read in
blocks, so the longest document limits the memory, not the whole text.

Which documents are for validation:

1. TinyStories, and folders with files named like `valid.txt`, `my-valid.txt` or `val.txt`, have their own split.
2. One file without a separator: its first 90 % of characters are for training, the rest for validation.
3. All others: a twentieth, chosen by a hash of the text, so equal documents are always in the same split.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nanokimi.config import DataConfig
from nanokimi.presets.yaml_config import nearest
from nanokimi.system.deadline import call_within
from nanokimi.text import storyworld
from nanokimi.text.tokenizer import END_OF_TEXT, cut_text

SOURCES = ("storyworld", "tinystories")
BLOCK = 1 << 20  # characters read at a time
PIECE = 1 << 19  # characters per `Document`, at most
VALIDATION_SHARE = 0.05
FEW = 500  # with more documents than this, a share of 5 % is empty in one of 10^11 corpora
_VALIDATION_FILE = re.compile(r"(^|[^a-z])val(id|idation)?([^a-z]|$)")


class TextError(ValueError):
    """A text that cannot be used: one line that says which text, what is wrong and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text, or a piece of one. `closed`: the text ends here, and `<|endoftext|>` follows.

    `roles` and `bits` hold one number per UTF-8 byte; only storyworld has them.
    """

    text: str
    validation: bool
    closed: bool = True
    roles: np.ndarray | None = None
    bits: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A stream of documents that can be started any number of times, and what is known before it is read."""

    name: str
    identity: dict[str, Any]  # equal identities mean equal text; reads no text
    fixed: bool  # the identity alone fixes the text; False for files: they are hashed when they are read
    size: int | None  # bytes of text, where known
    documents: Callable[[], Iterator[Document]]


def open_source(cfg: DataConfig) -> Source:
    """The source that `cfg.source` names. Reads no text. `TextError` for a source that does not exist."""
    if cfg.source == "storyworld":
        return _open_storyworld(cfg)
    if cfg.source == "tinystories":
        return _open_tinystories()
    return _open_files(cfg.source)


# ---------------------------------------------------------------- storyworld


def _open_storyworld(cfg: DataConfig) -> Source:
    def documents() -> Iterator[Document]:
        world = storyworld.World(cfg.seed, cfg.n_characters)
        for story in storyworld.generate(world, cfg.n_stories, cfg.seed):
            yield Document(
                text=story.text,
                validation=_hash_text(story.text) < VALIDATION_SHARE,
                roles=np.frombuffer(story.roles, dtype=np.uint8),
                bits=np.asarray(story.bits, dtype=np.float32),
            )

    identity = {
        "source": "storyworld",
        "version": storyworld.VERSION,
        "seed": cfg.seed,
        "n_characters": cfg.n_characters,
        "n_stories": cfg.n_stories,
    }
    return Source(name="storyworld", identity=identity, fixed=True, size=None, documents=documents)


# ---------------------------------------------------------------- TinyStories from the Hugging Face hub


def _open_tinystories() -> Source:
    """`roneneldan/TinyStories` (Eldan & Li 2023), 2.1 M stories, 1.9 GB, with its own validation split.

    The name is the identity: the published set is taken as final. Delete the cache to download it again.
    """

    def documents() -> Iterator[Document]:
        stories = _download("roneneldan/TinyStories")
        for split, validation in (("train", False), ("validation", True)):
            for rows in stories[split].iter(batch_size=1000):
                for text in filter(None, map(str.strip, rows["text"])):
                    yield Document(text=text, validation=validation)

    identity = {"source": "tinystories"}
    return Source(name="tinystories", identity=identity, fixed=True, size=None, documents=documents)


def _download(name: str, wait_s: float = 5.0) -> Any:
    """The data set from `datasets`, which keeps it on disk. Without a network: the copy, or `TextError`."""
    try:
        import datasets.config
        import huggingface_hub
    except ImportError:
        raise TextError(
            "source='tinystories' needs the package datasets: run `pip install datasets`, "
            "or use source='storyworld' or the path of a text file or folder"
        ) from None
    # Without a network the library would retry for half a minute and print. So we ask once, and the answer decides.
    try:
        call_within(2 * wait_s, lambda: huggingface_hub.HfApi().dataset_info(name, timeout=wait_s))
        online = True
    except Exception:  # refused, unresolved, too late, forbidden: in each case nothing can be downloaded
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


def _open_files(source: str) -> Source:
    path = Path(source).expanduser()
    files = _find_text_files(path, source)
    found = [(file, file.stat()) for file in files]
    identity = {"files": [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in found]}
    size = sum(stat.st_size for _, stat in found)
    name = path.resolve().name
    return Source(name=name, identity=identity, fixed=False, size=size, documents=lambda: _read_files(files))


def _find_text_files(path: Path, source: str) -> list[Path]:
    """The file that `path` names, or the .txt files of the folder. `TextError` where there is no text."""
    allowed = "the path of a UTF-8 text file, or of a folder of .txt files"
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.match("[!.]*.txt") and f.is_file())
        if not files:
            raise TextError(f"folder {path} holds no .txt file; give {allowed}")
    elif path.is_file():
        files = [path]
    else:
        hint = f"{nearest(source, SOURCES)} (or {allowed})"
        raise TextError(f"source={source!r}: no such file or folder; {hint}")
    if not any(file.stat().st_size for file in files):
        raise TextError(f"{path} is empty; give a text of at least a few thousand characters")
    return files


def _read_files(files: list[Path]) -> Iterator[Document]:
    """The documents of the files, each with its split (the docstring of this module has the rules)."""
    by_name = [bool(_VALIDATION_FILE.search(file.stem.lower())) for file in files]
    if any(by_name) and not all(by_name):
        for file, validation in zip(files, by_name):
            for raw in _read_documents([file]):
                if text := raw.strip():
                    yield from _cut_document(text, validation)
        return

    first = list(islice(_read_documents(files), FEW))
    hashes = [_hash_text(text) for raw in first if (text := raw.strip())]
    if not hashes and len(first) < FEW:
        raise TextError(f"{files[0]} holds no text; give a text of at least a few thousand characters")
    if len(first) == 1:
        (text,) = first
        cut = int(0.9 * len(text))
        yield from _cut_document(text[:cut], False, closed=False)
        yield from _cut_document(text[cut:], True, closed=False)
        return

    # A twentieth of few documents may be none. Then the document with the lowest hash is the validation split.
    limit = VALIDATION_SHARE
    if len(first) < FEW:
        limit = max(limit, min(hashes) + 2**-53)
    for raw in _read_documents(files):
        if text := raw.strip():
            yield from _cut_document(text, _hash_text(text) < limit)


def _cut_document(text: str, validation: bool, closed: bool = True) -> Iterator[Document]:
    """One document in pieces that are tokenized separately, so that a long one needs little memory."""
    parts = list(cut_text(text, PIECE))
    for i, part in enumerate(parts):
        yield Document(text=part, validation=validation, closed=closed and i == len(parts) - 1)


def _hash_text(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _read_documents(files: list[Path]) -> Iterator[str]:
    """The text of each document of the files."""
    for file in files:
        yield from _split_at_separators(_read_blocks(file))


def _split_at_separators(blocks: Iterator[str]) -> Iterator[str]:
    """The text between separators. A separator may begin in one block and end in the next."""
    open_parts: list[str] = []
    held = ""
    for block in blocks:
        *complete, rest = (held + block).split(END_OF_TEXT)
        for part in complete:
            yield "".join(open_parts) + part
            open_parts.clear()
        # The last characters may begin a separator: they wait for the next block.
        keep = min(len(rest), len(END_OF_TEXT) - 1)
        open_parts.append(rest[: len(rest) - keep])
        held = rest[len(rest) - keep :]
    yield "".join(open_parts) + held


def _read_blocks(file: Path) -> Iterator[str]:
    """The text of a file, `BLOCK` characters at a time. `TextError` for a file that is not UTF-8 or not readable."""
    try:
        with open(file, encoding="utf-8-sig") as f:
            while block := f.read(BLOCK):
                yield block
    except UnicodeDecodeError as error:
        position, byte = _find_bad_byte(file)
        raise TextError(
            f"file {file} is not UTF-8 text: byte {byte:#04x} at position {position} ({error.reason}); "
            "convert it first, e.g. iconv -f latin1 -t utf-8"
        ) from None
    except OSError as error:
        raise TextError(
            f"file {file} cannot be read: {error.strerror}; check the file and its permissions"
        ) from None


def _find_bad_byte(file: Path) -> tuple[int, int]:
    """The position and the value of the first byte that is not UTF-8 (a read error knows only its block)."""
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
