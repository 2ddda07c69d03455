"""The cache of tokens: a text is tokenized once, into files, and every later start only reads them.

    CACHE/tokens/<fingerprint>/     the tokens (`tokenfolder` lists its files)
    CACHE/sources/<identity>.json   the fingerprint that a source of files had when it was last read

The fingerprint is a SHA-256 over the text (every document and its split) and the settings of the tokenizer. A
source has an identity, so that its fingerprint is found without reading its text: for files their paths, sizes and
times of change, for storyworld and almanac their settings and versions, for TinyStories its name. A change that keeps
the size and the time of a file, to the nanosecond, is not noticed.

A folder is written under another name and renamed when it is complete, so a folder that exists is whole. When two
processes prepare one text at once, both do the work, and the folder of the first remains. A folder with a file that
is missing, or has another SHA-256 than when it was written, is written again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from jaxtyping import Float32, Int, UInt8

from nanokimi.config import DataConfig
from nanokimi.system import atomic
from nanokimi.system.printable import quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text import tokenizer
from nanokimi.text.files import TextError
from nanokimi.text.sources import Document, OnProgress, Source
from nanokimi.text.tokenfolder import DamagedFolder, TokenFolder, read_folder, write_meta

# Part of the fingerprint. Count them up whenever the way from a text to its tokens changes; runs on the old tokens can
# then not be resumed.
FORMAT_OF_FIXED, FORMAT_OF_FILES = 1, 2
SAMPLE = 20_000_000  # bytes of text that BPE is trained on, at most
BATCH = 1 << 22  # characters tokenized at a time

# The freedom of each role: storyworld.ROLES are 0 grammar, 1 choice, 2 fact, 3 copy. The table is its own inverse.
_FREEDOM = np.array([0, 3, 2, 1], dtype=np.uint8)


def prepare(
    source: Source, cfg: DataConfig, cache: Path, seq_len: int, on_progress: OnProgress, notes: list[str]
) -> TokenFolder:
    """The tokens of `source`, written now if they are not there, or are damaged (then `notes` gets a line).

    What `notes` holds at the end of the reading is kept with the tokens. `TextError` where a split has no window of
    `seq_len` tokens, or where the cache cannot be written.
    """
    settings: dict[str, Any] = {
        "format": FORMAT_OF_FIXED if source.fixed else FORMAT_OF_FILES,
        "tokenizer": cfg.tokenizer,
    }
    if cfg.tokenizer == "bpe":
        settings |= {"vocab_size": cfg.vocab_size, "sample": SAMPLE}
    identity = _digest({**settings, **source.identity})
    note = cache / "sources" / f"{identity}.json"
    damage = None
    try:
        fingerprint = identity if source.fixed else _read_note(note)
        if fingerprint:
            found, damage = _read_or_explain(cache / "tokens" / fingerprint)
            if found is not None:
                return found
        for part in ("tokens", "sources"):
            atomic.remove_leftovers(cache / part)
        documents, texts, content = _read_source(source, cfg.tokenizer, on_progress)
        fingerprint = identity if source.fixed else _digest({**settings, "text": content})
        folder = cache / "tokens" / fingerprint
        found, why = _read_or_explain(folder)
        if found is None:
            encoding = _make_tokenizer(cfg, texts, on_progress)
            _write_folder(folder, source, documents, encoding, seq_len, on_progress, notes)
            found = read_folder(folder)
        if not source.fixed:
            atomic.write_json(note, {"fingerprint": fingerprint})
    except DamagedFolder as error:
        raise TextError(
            f"cache folder {quote(str(cache), 200)} does not keep what is written: {error}"
        ) from None
    except OSError as error:
        cure = "free some space, or set" if error.errno == errno.ENOSPC else "set"
        raise TextError(
            f"cache folder {quote(str(cache), 200)} cannot be written: {error.strerror or error}; "
            f"{cure} cache_dir or XDG_CACHE_HOME to another folder"
        ) from None
    if damage := damage or why:
        notes.append(f"the tokens in the cache could not be used, and were made again: {damage}")
    return found


def _read_or_explain(folder: Path) -> tuple[TokenFolder | None, str | None]:
    """The tokens in a folder; else None, and what is wrong with the folder if there is one."""
    try:
        return read_folder(folder), None
    except FileNotFoundError:
        return None, None
    except DamagedFolder as error:
        return None, str(error)


def spread_over_tokens(
    sizes: Int[np.ndarray, " tokens"], roles: UInt8[np.ndarray, " bytes"], bits: Float32[np.ndarray, " bytes"]
) -> tuple[UInt8[np.ndarray, " tokens"], Float32[np.ndarray, " tokens"]]:
    """The roles and bits of tokens that stand for `sizes` bytes each, from the roles and bits of the bytes.

    A token has the freest role among its bytes (choice, then fact, copy, grammar) and the sum of their bits.
    """
    assert sizes.sum() == len(roles) == len(bits), "roles and bits must cover every byte of the text"
    if len(sizes) == 0:
        return roles[:0], bits[:0]
    starts = np.cumsum(sizes) - sizes
    freest = np.maximum.reduceat(_FREEDOM[roles], starts)
    return _FREEDOM[freest], np.add.reduceat(bits.astype(np.float64), starts).astype(np.float32)


def _read_note(note: Path) -> str | None:
    """The fingerprint in the note of a source; None without a usable note."""
    try:
        found = read_small_json(note, 1000)
    except UnreadableFile:
        return None
    fingerprint = found.get("fingerprint") if isinstance(found, dict) else None
    # It becomes part of a path, so it must be nothing else.
    is_digest = isinstance(fingerprint, str) and re.fullmatch("[0-9a-f]{32}", fingerprint)
    return fingerprint if is_digest else None


def _digest(facts: dict[str, Any]) -> str:
    """32 hexadecimal digits that stand for these facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


# ---------------------------------------------------------------- reading the text


def _read_source(
    source: Source, kind: str, on_progress: OnProgress
) -> tuple[Iterable[Document], list[str], str | None]:
    """The documents, the texts that make the tokenizer, and a hash of all text (of files only).

    A story takes time to write: BPE is trained on the first stories, which are then tokenized without a second
    writing. Files are read to their end for their hash, so the sample can spread evenly over them.
    """
    if source.fixed and kind == "gpt2":
        return source.documents(), [], None
    if source.fixed and kind == "bpe":
        stream = source.documents()
        head, size = [], 0
        for document in stream:
            head.append(document)
            size = _add_and_tell(on_progress, size, len(document.text), SAMPLE)
            if size >= SAMPLE:
                break
        return chain(head, stream), [d.text for d in head if not d.validation], None

    text_hash = hashlib.sha256()
    share = min(1.0, SAMPLE / source.size) if source.size else 1.0
    sample: list[str] = []
    characters: set[str] = set()
    seen = kept = 0
    documents = source.documents()  # which may read the text to divide it
    on_progress("reading text", 0, source.size)
    for document in documents:
        data = document.text.encode()
        text_hash.update(b"%d %d %d\n" % (len(data), document.validation, document.closed) + data)
        if kind == "char":
            characters.update(document.text)
        elif kind == "bpe" and not document.validation and kept <= share * seen:
            sample.append(document.text)
            kept += len(data)
        seen = _add_and_tell(on_progress, seen, len(data), source.size)
    return source.documents(), ["".join(sorted(characters))] if characters else sample, text_hash.hexdigest()


def _add_and_tell(on_progress: OnProgress, seen: int, more: int, total: int | None) -> int:
    """`seen + more`. Tells `on_progress` once per 2^20 bytes."""
    if (seen + more) >> 20 > seen >> 20:
        on_progress("reading text", seen + more, total)
    return seen + more


def _make_tokenizer(cfg: DataConfig, texts: list[str], on_progress: OnProgress) -> tiktoken.Encoding:
    """The tokenizer that `cfg` names, made from `texts`."""
    on_progress("making tokenizer", 0, 1)
    if cfg.tokenizer == "gpt2":
        encoding = tokenizer.gpt2()
    elif cfg.tokenizer == "char":
        encoding = tokenizer.char(texts)
    else:
        encoding = tokenizer.train_bpe(texts, cfg.vocab_size, lambda: on_progress("making tokenizer", 0, 1))
    on_progress("making tokenizer", 1, 1)
    return encoding


# ---------------------------------------------------------------- writing the tokens


def _write_folder(
    folder: Path,
    source: Source,
    documents: Iterable[Document],
    encoding: tiktoken.Encoding,
    seq_len: int,
    on_progress: OnProgress,
    notes: list[str],
) -> None:
    """Write the tokens as a whole folder, in the place of a damaged one."""
    try:
        with atomic.new_folder(folder) as building:
            _write_files(building, source, documents, encoding, seq_len, on_progress, notes)
            if os.path.lexists(folder) and _read_or_explain(folder)[0] is None:
                atomic.remove_folder(folder)
    except OSError:
        if _read_or_explain(folder)[0] is None:  # else another process was faster, with the same tokens
            raise


def _write_files(
    folder: Path,
    source: Source,
    documents: Iterable[Document],
    encoding: tiktoken.Encoding,
    seq_len: int,
    on_progress: OnProgress,
    notes: list[str],
) -> None:
    """Tokenize the documents into the files of an empty folder; `TextError` for a split below one window."""
    sizes = tokenizer.token_bytes(encoding)
    end = encoding.n_vocab - 1
    dtype = np.dtype(np.uint16 if encoding.n_vocab <= 2**16 else np.uint32)
    counts = {split: {"tokens": 0, "bytes": 0} for split in ("train", "val")}
    total_bits, annotated, seen = 0.0, False, 0
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open(folder / name, "wb"))
            for name in ("train.tokens", "val.tokens", "val.roles", "val.bits")
        }
        on_progress("tokenizing", 0, source.size)
        for batch in _group(documents):
            rows = encoding.encode_ordinary_batch(
                [d.text for d in batch], num_threads=min(8, os.cpu_count() or 1)
            )
            for document, row in zip(batch, rows):
                split = "val" if document.validation else "train"
                ids = np.array([*row, end] if document.closed else row, dtype=dtype)
                files[f"{split}.tokens"].write(ids.tobytes())
                lengths = sizes[ids]
                counts[split]["tokens"] += len(ids)
                counts[split]["bytes"] += int(lengths.sum())
                if document.validation and document.roles is not None and document.bits is not None:
                    annotated = True
                    roles, bits = spread_over_tokens(lengths[: len(row)], document.roles, document.bits)
                    closing = len(ids) - len(row)  # <|endoftext|> is grammar and costs nothing
                    files["val.roles"].write(np.append(roles, np.zeros(closing, np.uint8)).tobytes())
                    files["val.bits"].write(np.append(bits, np.zeros(closing, np.float32)).tobytes())
                    total_bits += float(document.bits.sum(dtype=np.float64))
            seen += sum(len(d.text) for d in batch)
            on_progress("tokenizing", seen, source.size)
    on_progress("tokenizing", seen, seen)
    if not annotated:
        for name in ("val.roles", "val.bits"):
            (folder / name).unlink()
    for split, what in (("train", "training"), ("val", "validation")):
        check_length(f"{quote(source.name)}: the {what} text", counts[split]["tokens"], seq_len)
    tokenizer.save_tokenizer(encoding, folder / "tokenizer.json")
    floor = total_bits / counts["val"]["bytes"] if annotated else None
    write_meta(folder, dtype, floor, list(dict.fromkeys(notes)))


def check_length(what: str, n_tokens: int, seq_len: int) -> None:
    """`TextError` unless one window of `seq_len` tokens and its targets, one token later, fit."""
    if n_tokens < seq_len + 1:
        found = f"{what} is too short: it has {n_tokens} of the {seq_len + 1} tokens"
        if seq_len == 1:  # nothing is smaller
            raise TextError(f"{found} that are the least; give more text")
        raise TextError(f"{found} of one window with seq_len={seq_len}; give more text or a smaller seq_len")


def _group(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """The documents in lists of about `BATCH` characters."""
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
