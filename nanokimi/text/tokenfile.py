"""Text is tokenized once: the tokens go to files in a cache folder, and every later start only maps them.

    CACHE/tokens/<fingerprint>/
        train.tokens  val.tokens    ids as uint16, or as uint32 where the vocabulary has more than 65,536
        val.roles  val.bits         storyworld only: a uint8 and a float32 for each token
        tokenizer.json  meta.json   meta.json lists the size of every file
    CACHE/sources/<identity>.json   the fingerprint that a source of files had when it was last read

The fingerprint is a SHA-256 over the text (every document and its side of the split) and the tokenizer's
settings. To find it without reading the text, a source has an identity: for files their paths, sizes and times
of change, for storyworld its settings and the code of its grammar, for TinyStories its name. A file that is
changed but keeps its size and its time of change, to the nanosecond, would not be noticed.

A folder is built under another name and renamed when it is complete, so whoever finds it finds all of it. Two
processes that prepare one text at once do the work twice; the first to finish is kept. A folder with a missing
file, or one of the wrong size, is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from jaxtyping import Float32, Int, UInt8

from nanokimi.config import DataConfig
from nanokimi.text import tokenizer
from nanokimi.text.sources import Document, Source, TextError

FORMAT = 1  # counted up whenever the files or the way to them change
SAMPLE = 20_000_000  # bytes of text that BPE is trained on, at most
BATCH = 1 << 22  # characters tokenized at a time
DAY_S = 86_400.0

OnProgress = Callable[[str, float, "float | None"], None]

# How free each role is: storyworld.ROLES are 0 grammar, 1 choice, 2 fact, 3 copy. It is its own inverse.
_FREEDOM = np.array([0, 3, 2, 1], dtype=np.uint8)


def prepare(source: Source, cfg: DataConfig, cache: Path, seq_len: int, progress: OnProgress) -> Path:
    """The folder with the tokens of `source`, made now if it is not there; `seq_len` is the least a split needs."""
    settings = {"format": FORMAT, "tokenizer": cfg.tokenizer}
    if cfg.tokenizer == "bpe":
        settings |= {"vocab_size": cfg.vocab_size, "sample": SAMPLE}
    identity = _digest({**settings, **source.identity})
    note = cache / "sources" / f"{identity}.json"

    fingerprint = identity if source.fixed else _read_note(note)
    if fingerprint and is_complete(cache / "tokens" / fingerprint):
        return cache / "tokens" / fingerprint
    try:
        documents, texts, content = _look_through(source, cfg.tokenizer, progress)
        fingerprint = identity if source.fixed else _digest({**settings, "text": content})
        folder = cache / "tokens" / fingerprint
        if not is_complete(folder):
            encoding = _make_tokenizer(cfg, texts, progress)
            with _building(folder) as building:
                _write(building, source, documents, encoding, seq_len, progress)
        if not source.fixed:
            _write_note(note, fingerprint)
    except OSError as error:
        raise TextError(
            f"cache folder {cache} cannot be written: {error.strerror or error}; "
            "free some space, or set cache_dir to another folder"
        ) from None
    return folder


def is_complete(folder: Path) -> bool:
    """Whether every file that meta.json lists is there in full size."""
    try:
        sizes = read_meta(folder)["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def read_meta(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "meta.json").read_text(encoding="utf-8"))


def spread_over_tokens(
    sizes: Int[np.ndarray, " tokens"], roles: UInt8[np.ndarray, " bytes"], bits: Float32[np.ndarray, " bytes"]
) -> tuple[UInt8[np.ndarray, " tokens"], Float32[np.ndarray, " tokens"]]:
    """Roles and bits of bytes, as roles and bits of the tokens that stand for `sizes` bytes each.

    A token has the freest role among its bytes (choice, then fact, copy, grammar) and the sum of their bits.
    """
    assert sizes.sum() == len(roles) == len(bits), "roles and bits must cover every byte of the text"
    if len(sizes) == 0:
        return roles[:0], bits[:0]
    starts = np.cumsum(sizes) - sizes
    freest = np.maximum.reduceat(_FREEDOM[roles], starts)
    return _FREEDOM[freest], np.add.reduceat(bits.astype(np.float64), starts).astype(np.float32)


# ---------------------------------------------------------------- reading the text


def _look_through(
    source: Source, kind: str, progress: OnProgress
) -> tuple[Iterable[Document], list[str], str | None]:
    """The documents, the texts that the tokenizer is made from, and a hash of all text (of files only).

    Storyworld's stories cost time to make: BPE takes the first of them, which go on to be tokenized as well.
    Files are read to their end for their hash, so the sample can be spread evenly over them.
    """
    if source.fixed and kind == "gpt2":
        return source.documents(), [], None
    if source.fixed and kind == "bpe":
        stream = source.documents()
        head, size = [], 0
        for document in stream:
            head.append(document)
            size = _count(progress, size, len(document.text), SAMPLE)
            if size >= SAMPLE:
                break
        return chain(head, stream), [d.text for d in head if not d.validation], None

    text_hash = hashlib.sha256()
    share = min(1.0, SAMPLE / source.size) if source.size else 1.0
    sample: list[str] = []
    characters: set[str] = set()
    seen = kept = 0
    progress("reading text", 0, source.size)
    for document in source.documents():
        data = document.text.encode()
        text_hash.update(b"%d %d %d\n" % (len(data), document.validation, document.closed) + data)
        if kind == "char":
            characters.update(document.text)
        elif kind == "bpe" and not document.validation and kept <= share * seen:
            sample.append(document.text)
            kept += len(data)
        seen = _count(progress, seen, len(data), source.size)
    return source.documents(), ["".join(sorted(characters))] if characters else sample, text_hash.hexdigest()


def _count(progress: OnProgress, seen: int, more: int, total: int | None) -> int:
    """`seen + more`, told to `progress` once a megabyte."""
    if (seen + more) >> 20 > seen >> 20:
        progress("reading text", seen + more, total)
    return seen + more


def _make_tokenizer(cfg: DataConfig, texts: list[str], progress: OnProgress) -> tiktoken.Encoding:
    progress("making tokenizer", 0, 1)
    if cfg.tokenizer == "gpt2":
        encoding = tokenizer.gpt2()
    elif cfg.tokenizer == "char":
        encoding = tokenizer.char(texts)
    else:
        encoding = tokenizer.train_bpe(texts, cfg.vocab_size)
    progress("making tokenizer", 1, 1)
    return encoding


# ---------------------------------------------------------------- writing the tokens


def _write(
    folder: Path,
    source: Source,
    documents: Iterable[Document],
    encoding: tiktoken.Encoding,
    seq_len: int,
    progress: OnProgress,
) -> None:
    sizes = tokenizer.token_bytes(encoding)
    end = encoding.n_vocab - 1
    dtype = np.dtype(np.uint16 if encoding.n_vocab <= 2**16 else np.uint32)
    counts = {split: {"documents": 0, "tokens": 0, "bytes": 0} for split in ("train", "val")}
    total_bits, annotated, seen = 0.0, False, 0
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open(folder / name, "wb"))
            for name in ("train.tokens", "val.tokens", "val.roles", "val.bits")
        }
        for batch in _batches(documents):
            rows = encoding.encode_ordinary_batch(
                [d.text for d in batch], num_threads=min(8, os.cpu_count() or 1)
            )
            for document, row in zip(batch, rows):
                split = "val" if document.validation else "train"
                ids = np.array([*row, end] if document.closed else row, dtype=dtype)
                ids.tofile(files[f"{split}.tokens"])
                lengths = sizes[ids]
                counts[split]["documents"] += document.closed
                counts[split]["tokens"] += len(ids)
                counts[split]["bytes"] += int(lengths.sum())
                if document.validation and document.roles is not None and document.bits is not None:
                    annotated = True
                    roles, bits = spread_over_tokens(lengths[: len(row)], document.roles, document.bits)
                    closing = len(ids) - len(row)  # <|endoftext|> is grammar and costs nothing
                    np.append(roles, np.zeros(closing, np.uint8)).tofile(files["val.roles"])
                    np.append(bits, np.zeros(closing, np.float32)).tofile(files["val.bits"])
                    total_bits += float(document.bits.sum(dtype=np.float64))
            seen += sum(len(d.text) for d in batch)
            progress("tokenizing", seen, source.size)
    progress("tokenizing", seen, seen)
    if not annotated:
        for name in ("val.roles", "val.bits"):
            (folder / name).unlink()
    for split in ("train", "val"):
        check_length(f"{source.name}: the {split} split", counts[split]["tokens"], seq_len)
    tokenizer.save_tokenizer(encoding, folder / "tokenizer.json")
    meta = {
        "format": FORMAT,
        "name": source.name,
        "dtype": dtype.name,
        "floor": total_bits / counts["val"]["bytes"] if annotated else None,
        "splits": counts,
        "files": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def check_length(what: str, n_tokens: int, seq_len: int) -> None:
    """`TextError` unless one window of `seq_len` tokens and its targets, one token later, fit."""
    if n_tokens < seq_len + 1:
        raise TextError(
            f"{what} is too short: {n_tokens} tokens, and one window of seq_len={seq_len} needs {seq_len + 1}; "
            "give more text or a smaller seq_len"
        )


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


# ---------------------------------------------------------------- the cache


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` if all goes well, and of which nothing stays if not."""
    missing = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(".building-*"):  # by a killed process
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > DAY_S:
                shutil.rmtree(left)
    building = folder.parent / f".building-{uuid.uuid4().hex}"
    building.mkdir()
    try:
        yield building
        if folder.exists() and not is_complete(folder):
            damaged = building.with_name(f"{building.name}-damaged")
            folder.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
        try:
            building.rename(folder)
        except OSError:
            if not is_complete(folder):  # else another process was first, with the same tokens
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        for parent in missing:
            with suppress(OSError):  # not empty: in use
                parent.rmdir()


def _read_note(note: Path) -> str | None:
    """The fingerprint noted for a source; None where there is no note that can be read."""
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_note(note: Path, fingerprint: str) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    new = note.with_name(f".{uuid.uuid4().hex}.json")
    new.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")
    new.replace(note)


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
