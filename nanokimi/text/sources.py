"""Text as one stream of documents: from the embedded storyworld, its almanac, TinyStories, or your own files.

Each source has a name, an identity that tells it from others *without reading its text*, and its documents in a
fixed order. Each document belongs to the training split or to the validation split:

1. TinyStories has its own split, and so has a folder with files named like `valid.txt`, `my-valid.txt` or `val.txt`.
2. Of the storyworld a twentieth of the stories is for validation, chosen by a hash of each. The almanac has a twentieth
   more pages, for validation, after those for training.
3. Of your own text a twentieth by size (`split` has the rule, and `files` what a document is).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from nanokimi.config import DataConfig
from nanokimi.system.deadline import call_within
from nanokimi.system.printable import quote
from nanokimi.system.refusals import nearest
from nanokimi.text import storyworld
from nanokimi.text.cuts import cut_text
from nanokimi.text.files import ALLOWED, TextError, TextFile, find_text_files, read_documents
from nanokimi.text.split import SHARE, Plan, divide, hash_text, plan_split
from nanokimi.text.storyworld import almanac

SOURCES = ("storyworld", "almanac", "tinystories")
PIECE = 1 << 17  # characters per `Document`, or a few more: an interrupt waits until a piece is tokenized

OnProgress = Callable[[str, float, "float | None"], None]  # (stage, done, total); total may be unknown


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text, or a piece of one. `closed`: the text ends here, and `<|endoftext|>` follows.

    `roles` and `bits` hold one number per UTF-8 byte; stories have them, and pages of the almanac for validation.
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


def open_source(
    cfg: DataConfig, on_progress: OnProgress = lambda *_: None, say: Callable[[str], None] = lambda _: None
) -> Source:
    """The source that `cfg.source` names. Reads no text. `TextError` for a source that does not exist.

    `say` hears, in a line each, what is left out and how the text is split, while the documents are read: more than
    once where they are read again.
    """
    if cfg.source == "storyworld":
        return _open_storyworld(cfg)
    if cfg.source == "almanac":
        return _open_almanac(cfg)
    if cfg.source == "tinystories":
        return _open_tinystories()
    return _open_files(cfg.source, on_progress, say)


# ---------------------------------------------------------------- storyworld


def _open_storyworld(cfg: DataConfig) -> Source:
    def documents() -> Iterator[Document]:
        world = storyworld.World(cfg.seed, cfg.n_characters)
        for story in storyworld.generate(world, cfg.n_stories, cfg.seed):
            yield Document(
                text=story.text,
                validation=hash_text(story.text) / 2**64 < SHARE,
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


# ---------------------------------------------------------------- almanac


def _open_almanac(cfg: DataConfig) -> Source:
    def documents() -> Iterator[Document]:
        book = almanac.Almanac(cfg.seed, cfg.n_characters)
        n_pages = book.n_pages(cfg.n_exposures)
        for index in range(n_pages):
            yield Document(text=book.page(index), validation=False)
        for index in range(n_pages, n_pages + ceil(SHARE * n_pages)):
            page = book.annotated_page(index)
            yield Document(text=page.text, validation=True, roles=page.roles, bits=page.bits)

    identity = {
        "source": "almanac",
        "version": [storyworld.VERSION, almanac.VERSION],
        "seed": cfg.seed,
        "n_characters": cfg.n_characters,
        "n_exposures": cfg.n_exposures,
    }
    return Source(name="almanac", identity=identity, fixed=True, size=None, documents=documents)


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


def _open_files(source: str, on_progress: OnProgress, say: Callable[[str], None]) -> Source:
    try:
        path = Path(source).expanduser()
        if not path.exists():
            raise TextError(
                f"source={quote(source)}: no such file or folder; {nearest(source, SOURCES)} (or {ALLOWED})"
            )
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, a zero byte
        if isinstance(error, TextError):
            raise
        why = getattr(error, "strerror", None) or error
        raise TextError(f"source={quote(source)} cannot be read: {why}; give {ALLOWED}") from None
    files, left_out = find_text_files(path)
    if left_out:
        say(left_out)
    identity = {"files": [[os.path.realpath(f.path), f.size, f.changed_ns] for f in files]}
    for part, what in ((True, "validation"), (False, "training")):
        named = [file for file in files if file.for_validation is part]
        if named and not any(file.size for file in named):
            raise TextError(
                f"{quote(str(named[0].path))} is empty, and by the names of the files it is the {what} text; "
                "give it text, or delete it"
            )
    by_name = [file.for_validation for file in files]
    make_plan = cache(lambda: _plan(files, on_progress))

    def documents() -> Iterator[Document]:
        if any(by_name) and not all(by_name):
            say(f"for validation, by name: {sum(by_name)} of {len(files)} files")
            divided = (
                (text, validation, True)
                for file, validation in zip(files, by_name)
                for text in read_documents(file, say)
            )
        else:
            plan = make_plan()
            say(plan.note)
            divided = divide(plan, (text for file in files for text in read_documents(file, say)))
        return (document for parts in divided for document in _cut_document(*parts))

    name = os.path.basename(os.path.realpath(path)) or "text"
    size = sum(file.size for file in files)
    return Source(name=name, identity=identity, fixed=False, size=size, documents=documents)


def _plan(files: list[TextFile], on_progress: OnProgress) -> Plan:
    """How the documents of the files are split. Tells `on_progress` after each file and each 2^20 characters."""
    total = sum(file.size for file in files)

    def texts() -> Iterator[str]:
        seen = 0
        for file in files:
            for text in read_documents(file, lambda _: None):
                if (seen + len(text)) >> 20 > seen >> 20:
                    on_progress("dividing text", seen + len(text), total)
                seen += len(text)
                yield text

    on_progress("dividing text", 0, total)
    plan = plan_split(texts())
    if plan is None:
        raise TextError(
            f"{quote(str(files[0].path))} holds no text; give a text of at least a few thousand characters"
        )
    return plan


def _cut_document(text: str, validation: bool, closed: bool) -> Iterator[Document]:
    """One document in pieces that are tokenized separately, so that a long one needs little memory."""
    parts = list(cut_text(text, PIECE))
    for i, part in enumerate(parts):
        yield Document(text=part, validation=validation, closed=closed and i == len(parts) - 1)
