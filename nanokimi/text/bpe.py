"""The tokens of byte-pair encoding: one merge in plain Python, and all of them by a library.

The library learns in a process of its own, which Ctrl-C can end (`learn`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

from nanokimi.system.interpreter import python
from nanokimi.text import learn
from nanokimi.text.cuts import cut_runs

SMALL = 100_000  # characters that are learnt from at once: that takes less time than starting a process
TICK_S = 0.2


class LearningFailed(OSError):
    """The process that learns has ended too early."""


def merge_most_frequent(ids: list[int], new_id: int) -> tuple[list[int], tuple[int, int]]:
    """One merge: the ids with their most frequent pair of neighbours as `new_id`, and that pair (Sennrich et al. 2016).

    Every two neighbours count as a pair, also where pairs overlap. Of equally frequent pairs the smallest is taken. It
    is replaced from left to right: 7 7 7 becomes `new_id` 7. `train_ranks` repeats this within words, while some pair
    stands there twice. `ValueError` for fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"{len(ids)} ids have no pair of neighbours; give two or more")
    counts = Counter(pairwise(ids))
    pair = min(counts, key=lambda each: (-counts[each], each))
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged, pair


def train_ranks(
    texts: Iterable[str], n_tokens: int, words: str, on_wait: Callable[[], None] = lambda: None
) -> dict[bytes, int]:
    """The bytes and the id of at most `n_tokens` tokens: first the 256 bytes, then one per merge, in merge order.

    No merge crosses a border of the pattern `words`, nor a place at which `cut_runs` cuts: time grows with the square
    of the longest word. `on_wait()` is called several times per second. `LearningFailed` where memory is short.
    """
    parts = (part for text in texts for part in cut_runs(text))
    head, size = [], 0
    for part in parts:
        head.append(part)
        size += len(part)
        if size > SMALL:
            spelled = _learn_elsewhere(chain(head, parts), n_tokens, words, on_wait)
            break
    else:
        spelled = learn.learn(iter(head), n_tokens, words)
    byte_of = {letter: byte for byte, letter in enumerate(spell_bytes())}
    return {bytes(byte_of[c] for c in token): rank for token, rank in spelled.items()}


def spell_bytes() -> list[str]:
    """GPT-2's printable letter for each of the 256 bytes. The library `tokenizers` spells tokens with them."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = (chr(256 + i) for i in range(256))
    return [chr(byte) if byte in printable else next(hidden) for byte in range(256)]


def _learn_elsewhere(
    texts: Iterator[str], n_tokens: int, words: str, on_wait: Callable[[], None]
) -> dict[str, int]:
    """What `learn` returns, from a process that is killed if this one is interrupted."""
    worker = subprocess.Popen(
        python(learn.__file__),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal reaches all processes of a session: this one ends that one
    )
    stdin, stdout = worker.stdin, worker.stdout
    assert stdin is not None and stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it has ended: its exit code says so
            for line in chain([[n_tokens, words]], texts):
                stdin.write(json.dumps(line).encode() + b"\n")
            stdin.close()
        worker.stdin = None  # `communicate` shall not close it again
        found = None
        while found is None:
            on_wait()
            try:
                found, _ = worker.communicate(timeout=TICK_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        worker.kill()
        worker.wait()
        for pipe in (stdin, stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    if worker.returncode != 0:
        raise LearningFailed(
            f"learning the tokens ended with exit code {worker.returncode}; free some memory, or give less text"
        )
    return json.loads(found)
