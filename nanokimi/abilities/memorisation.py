"""How much of a text stands word for word in the training text.

A run of n tokens is looked up by a hash of 64 bits: c(t0) + c(t1)·q + ... + c(tn-1)·q^(n-1), modulo 2^64, where c gives
each token a random number. That of every run in the training text takes one cumulative sum. Two different runs have one
hash in about one of 10^10 measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import UInt, UInt64

from nanokimi.system.real_numbers import Share
from nanokimi.system.whole_numbers import CountOrZero

WINDOW = 20  # tokens
MOST_TOKENS = 50_000_000  # of the training text that is searched: a second per 10 million and length
_CHUNK = 1 << 18  # tokens that are hashed at once, which fit into a processor's cache
_BITS = 22
_Q = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """longest: tokens of the longest run that stands in the training text.

    windows: the share of all runs of `WINDOW` tokens that do; `n_windows` is how many there are, and 0 gives a share
    of 0.
    """

    longest: CountOrZero
    windows: Share
    n_windows: CountOrZero


def measure_memorisation(
    texts: Sequence[Sequence[int]], training: UInt[np.ndarray, " tokens"]
) -> Memorisation:
    """What these texts repeat of the first `MOST_TOKENS` tokens of a training text."""
    training = training[:MOST_TOKENS]
    found = _find(texts, training, WINDOW)
    # The longest run: what stands there does so with every shorter part of it, so that halving finds it.
    low, high = 0, max(map(len, texts), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if _find(texts, training, middle).any():
            low = middle
        else:
            high = middle - 1
    return Memorisation(longest=low, windows=float(found.mean()) if len(found) else 0.0, n_windows=len(found))


def _find(texts: Sequence[Sequence[int]], training: np.ndarray, n: int) -> np.ndarray:
    """For every run of `n` tokens of the texts, whether it stands in the training text."""
    dtype = training.dtype
    runs = [_hash_runs(np.array(text, dtype=dtype), n) for text in texts if len(text) >= n]
    hashes = np.concatenate(runs) if runs else np.zeros(0, np.uint64)
    if len(hashes) == 0 or len(training) < n:
        return np.zeros(len(hashes), bool)
    # A table of the upper bits leaves few runs of the training text to compare.
    table = np.zeros(1 << _BITS, bool)
    table[hashes >> np.uint64(64 - _BITS)] = True
    found = np.zeros(0, np.uint64)
    for chunk in _chunks(training, n):
        there = _hash_runs(chunk, n)
        found = np.union1d(found, np.intersect1d(there[table[there >> np.uint64(64 - _BITS)]], hashes))
    return np.isin(hashes, found)


def _chunks(training: np.ndarray, n: int) -> Iterator[np.ndarray]:
    """Parts of a text that together have each of its runs of `n` tokens."""
    for start in range(0, len(training) - n + 1, _CHUNK):
        yield training[start : start + _CHUNK + n - 1]


def _hash_runs(tokens: UInt[np.ndarray, " tokens"], n: int) -> UInt64[np.ndarray, " runs"]:
    """The hash of every run of `n` tokens, in order."""
    powers, inverses = (each[: len(tokens)] for each in _powers(1 << len(tokens).bit_length()))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_scatter(tokens) * powers)])
    return (sums[n:] - sums[:-n]) * inverses[: len(tokens) - n + 1]


@cache
def _powers(n: int) -> tuple[UInt64[np.ndarray, " n"], UInt64[np.ndarray, " n"]]:
    """q, q², ... and their inverses."""
    one, other = (np.full(n, base, np.uint64) for base in (_Q, pow(_Q, -1, 2**64)))
    return np.cumprod(one), np.cumprod(other)


def _scatter(tokens: UInt[np.ndarray, " tokens"]) -> UInt64[np.ndarray, " tokens"]:
    """A number of 64 bits for each token that looks random (splitmix64), the same for the same token."""
    x = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(_Q)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
