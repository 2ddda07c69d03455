"""A text for training: two splits of token ids, and the batches and windows that are cut from them.

`load_corpus(cfg)` takes any source (storyworld, almanac, tinystories, your own file or folder) and returns a `Corpus`.
The first call tokenizes; a later call with the same settings reads no text (`tokenfile` explains the cache).

Targets are the inputs, one token later: `targets[i]` is the token that follows `inputs[i]`.
"""

from __future__ import annotations

import hashlib
import mmap
import numbers
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tiktoken
import torch
from jaxtyping import Float32, Int, UInt, UInt8
from torch import Tensor

from nanokimi.config import DataConfig, ModelConfig
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.system.refusals import require
from nanokimi.system.whole_numbers import Length
from nanokimi.text import tokenfile, tokenizer
from nanokimi.text.files import TextError
from nanokimi.text.sources import OnProgress, open_source
from nanokimi.text.storyworld import ROLES
from nanokimi.text.tokenfile import check_length

__all__ = ["ROLES", "Corpus", "Split", "TextError", "batch", "load_corpus", "windows"]


_MOST_TOKENS = 10**8  # of a batch: as many as in K2's own, and few enough to be drawn in seconds


@dataclass(frozen=True, kw_only=True)
class Split:
    """The tokens of one split, which cannot be written; with facts about each, for validation text that a world made.

    `roles[i]` indexes `ROLES`; `bits[i]` is -log2 of the probability of token i, given the world and the text before
    it. `<|endoftext|>` is grammar and has 0 bits.
    """

    tokens: UInt[np.ndarray, " n_tokens"]
    roles: UInt8[np.ndarray, " n_tokens"] | None = None
    bits: Float32[np.ndarray, " n_tokens"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Both splits and all that is needed to read them.

    `token_bytes`: bytes of text per token (0 for `<|endoftext|>`). `floor`: the bits per byte that no model can beat
    on average over the validation split; None for every source but storyworld and almanac. `notes`: lines that say how
    the text was split, what was left out of it, and whether a damaged cache was made again.
    """

    train: Split
    val: Split
    tokenizer: tiktoken.Encoding
    token_bytes: Int[Tensor, " vocab_size"]
    fingerprint: str
    name: str
    floor: float | None
    notes: tuple[str, ...] = ()


@checked
def load_corpus(cfg: DataConfig, on_progress: OnProgress | None = None, *, seq_len: Length = 1) -> Corpus:
    """The corpus that `cfg` describes: from the cache, or tokenized now.

    `on_progress(stage, done, total)` hears about the work (total may be None). Raises `TextError` for a text that is
    missing, empty, not UTF-8, or shorter than one window of `seq_len`, and then leaves nothing behind.

    >>> from nanokimi import DataConfig, load_corpus
    >>> corpus = load_corpus(DataConfig(n_stories=200, tokenizer="char"))
    >>> corpus.tokenizer.decode(corpus.tokenizer.encode("a story"))
    'a story'
    >>> len(corpus.train) > len(corpus.val)
    True
    """
    if on_progress is not None and not callable(on_progress):
        raise TextError(f"on_progress={quote(on_progress)} must be a function")
    on_progress = on_progress or (lambda *_: None)
    notes: list[str] = []
    source = open_source(cfg, on_progress, notes.append)
    seen_at_once = list(notes)
    folder = tokenfile.prepare(source, cfg, _find_cache(cfg), seq_len, on_progress, notes)
    arrays = folder.arrays
    corpus = Corpus(
        train=Split(tokens=arrays["train.tokens"]),
        val=Split(tokens=arrays["val.tokens"], roles=arrays.get("val.roles"), bits=arrays.get("val.bits")),
        tokenizer=folder.tokenizer,
        token_bytes=torch.from_numpy(tokenizer.token_bytes(folder.tokenizer)),
        fingerprint=folder.path.name,
        name=source.name,
        floor=folder.floor,
        notes=tuple(dict.fromkeys([*seen_at_once, *folder.notes, *notes])),
    )
    check_length(f"{quote(source.name)}: the training text", len(corpus.train), seq_len)
    check_length(f"{quote(source.name)}: the validation text", len(corpus.val), seq_len)
    return corpus


def _find_cache(cfg: DataConfig) -> Path:
    """The folder of the cache; `TextError` where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # A relative one is ignored, as its specification says.
    user_cache = given if os.path.isabs(given) else "~/.cache"
    try:
        return Path(cfg.cache_dir or Path(user_cache, "nanokimi")).expanduser()
    except RuntimeError as error:
        raise TextError(
            f"no place for the cache: {error}; set cache_dir or XDG_CACHE_HOME to a folder"
        ) from None


def check_fits(corpus: Corpus, model: ModelConfig, seq_len: int) -> None:
    """Raise `ConfigError`, or `TextError` for too short a text, unless such a model can be measured on this corpus."""
    n_tokens, most = corpus.tokenizer.n_vocab, model.max_seq_len
    require(seq_len <= most, f"seq_len={seq_len} is above max_seq_len={most} of the model")
    few = f"vocab_size={model.vocab_size} of the model is below the tokenizer's {n_tokens}"
    require(n_tokens <= model.vocab_size, few)
    check_length(f"{quote(corpus.name)}: the validation text", len(corpus.val), seq_len)


def batch(
    split: Split, step: int, *, batch_size: int, seq_len: int, seed: int
) -> tuple[Int[Tensor, "batch_size seq_len"], Int[Tensor, "batch_size seq_len"]]:
    """Inputs and targets of training step `step` (0, 1, ...), as int64.

    The arguments alone decide: to resume, ask for the next step. Two models with one seed see the same batches in
    the same order. An epoch visits each of its windows once; (seed, epoch) decide their order and their offset. A
    batch may end one epoch and begin the next.
    """
    _check_split(split)
    _check_count("batch_size", batch_size)
    _check_count("seq_len", seq_len)
    _check_count("step", step, least=0)
    _check_count("seed", seed, least=-(2**63))
    few = f"batch_size={batch_size} times seq_len={seq_len} must be {_MOST_TOKENS:,} tokens or less"
    require(batch_size * seq_len <= _MOST_TOKENS, few)
    check_length("the split", len(split), seq_len)
    n = _count_windows(len(split), seq_len)
    starts = []
    for window in range(step * batch_size, (step + 1) * batch_size):
        epoch, position = divmod(window, n)
        starts.append(int(_order_windows(len(split), seq_len, seed, epoch)[position]))
    return _cut(split, starts, seq_len)


def windows(
    split: Split, n: int, seq_len: int
) -> tuple[Int[Tensor, "n seq_len"], Int[Tensor, "n seq_len"], Int[Tensor, "n seq_len"]]:
    """The first `n` windows for evaluation, one after the other, always the same: inputs, targets, index.

    `index` is the position of each target in the split: `split.bits[index]` are the exact bits of the targets and
    `split.roles[index]` their roles. A split with fewer windows gives all of them.
    """
    _check_split(split)
    _check_count("n", n)
    _check_count("seq_len", seq_len)
    check_length("the split", len(split), seq_len)
    n = min(n, (len(split) - 1) // seq_len)
    inputs, targets = _cut(split, [i * seq_len for i in range(n)], seq_len)
    return inputs, targets, torch.arange(1, n * seq_len + 1).view(n, seq_len)


def _cut(
    split: Split, starts: list[int], seq_len: int
) -> tuple[Int[Tensor, "n seq_len"], Int[Tensor, "n seq_len"]]:
    """Inputs and targets of the windows that begin at `starts`."""
    if isinstance(split.tokens, np.memmap):
        _check_mapped(split.tokens)
    rows = np.stack([split.tokens[start : start + seq_len + 1] for start in starts])
    rows = torch.from_numpy(rows.astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def _check_mapped(tokens: np.memmap) -> None:
    """`TextError` where the file behind a mapping was cut: whoever reads beyond its end is killed by the system."""
    mapping: mmap.mmap = tokens._mmap  # type: ignore[attr-defined]
    if mapping.size() < len(mapping):
        raise TextError(
            f"file {quote(str(tokens.filename), 200)} was cut to {mapping.size():,} bytes while it was in use; "
            "start again, and its tokens are made anew"
        )


def _check_split(split: object) -> None:
    if not isinstance(split, Split):
        raise TextError(f"{quote(split)} is no split of a corpus: corpus.train and corpus.val are")


def _check_count(name: str, value: object, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise TextError(f"{name}={quote(value)} must be a whole number of {least} or more")
    if int(value) >= 2**64:
        raise TextError(f"{name}={quote(value)} must be below 2^64")


def _count_windows(n_tokens: int, seq_len: int) -> int:
    """The windows of one epoch: one less than fit, so that a random offset can reach every token; at least one."""
    return max(1, (n_tokens - 1) // seq_len - 1)


@lru_cache(maxsize=4)  # drawing the order of a million windows takes longer than training on a batch
def _order_windows(n_tokens: int, seq_len: int, seed: int, epoch: int) -> Int[Tensor, " windows"]:
    """The positions at which the windows of one epoch start, in the order of the epoch."""
    n = _count_windows(n_tokens, seq_len)
    generator = torch.Generator().manual_seed(_mix_seed(seed, epoch))
    room = n_tokens - 1 - n * seq_len
    offset = torch.randint(room + 1, (), generator=generator)
    return offset + seq_len * torch.randperm(n, generator=generator)


def _mix_seed(seed: int, epoch: int) -> int:
    """One 63-bit seed from two numbers, unrelated to those of the next seed and the next epoch."""
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
