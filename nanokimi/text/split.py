"""Which text of your own is for validation: about a twentieth of it, by size.

Whole documents are chosen in the order of a hash of their text, until they make a twentieth of all characters. So equal
documents are on the same side, and another document moves few of the old ones. A document that would bring validation
above a tenth is passed over; where nothing is chosen so, above a fifth.

Where no documents of the right size exist (there is one document, or a few large ones, or all are equal), the last
tenth of the text is for validation, and a document may be cut in two. A short text gives a fifth, 1,000 characters at
most, so that validation has a window.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

SHARE = 0.05  # of the characters, in whole documents
TAIL = 0.1  # of the characters, where a document has to be cut
MOST = 0.2
FEW = 1000  # characters that validation should have, where that is no more than MOST


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which documents are for validation: those with the hashes `chosen`, or all text after `cut` characters.

    `note` says in a line what was done.
    """

    chosen: frozenset[int] = frozenset()
    cut: int | None = None
    alone: bool = False  # there is one document, which no separator ends
    note: str


def plan_split(texts: Iterable[str]) -> Plan | None:
    """The plan for these documents, of which none is empty; None where there are none."""
    hashes, sizes = array("Q"), array("q")
    for text in texts:
        hashes.append(hash_text(text))
        sizes.append(len(text))
    if not sizes:
        return None
    # Equal documents are one group, in the order of the hash.
    groups, group_of = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_inverse=True)
    group_sizes = np.bincount(group_of, weights=np.frombuffer(sizes, dtype=np.int64))
    total = sum(sizes)
    goal = max(SHARE * total, min(float(FEW), MOST * total))
    for most in (2 * SHARE, MOST):
        chosen = _choose(group_sizes.tolist(), goal, most * total)
        size = float(group_sizes[chosen].sum())
        if size >= goal / 2:
            n_chosen = int(np.isin(group_of, chosen).sum())
            note = f"for validation: {n_chosen:,} of {len(sizes):,} documents, {size / total:.1%} of the text"
            return Plan(chosen=frozenset(groups[chosen].tolist()), note=note)

    cut = total - max(total - int((1 - TAIL) * total), min(FEW, int(MOST * total)))
    why = (
        "it is one document"
        if len(sizes) == 1
        else "its documents are too large, or equal, to choose some of them"
    )
    note = f"the last {(total - cut) / total:.0%} of the text is for validation: {why}"
    return Plan(cut=cut, alone=len(sizes) == 1, note=note)


def divide(plan: Plan, texts: Iterable[str]) -> Iterator[tuple[str, bool, bool]]:
    """Every document, whether it is for validation, and whether it ends here: one that is cut comes in two parts."""
    seen = 0
    for text in texts:
        if plan.cut is None:
            yield text, hash_text(text) in plan.chosen, True
            continue
        head = min(max(plan.cut - seen, 0), len(text))
        seen += len(text)
        if head:
            yield text[:head], False, head == len(text) and not plan.alone
        if head < len(text):
            yield text[head:], True, not plan.alone


def hash_text(text: str) -> int:
    """A number below 2^64 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _choose(sizes: list[float], goal: float, most: float) -> list[int]:
    """The first groups that reach `goal` together; one that would bring them above `most` is passed over."""
    chosen, sum_ = [], 0.0
    for i, size in enumerate(sizes):
        if sum_ >= goal:
            break
        if sum_ + size <= most:
            chosen.append(i)
            sum_ += size
    return chosen
