"""The known wrong answers to SequenceCache, of notebook 10."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.cache import SequenceCache


@mistake(
    "Only the newest entries come back; attention needs all of them, from the first token on.",
    "After appending two tokens and then one: how many keys must the new query see?",
)
class CacheOfTheNewest(SequenceCache):
    def append(self, *new):
        super().append(*new)
        return new


@mistake(
    "New entries come before the old ones. Time runs to the right: the newest is last.",
    "Which order of the keys does the mask assume?",
)
class CacheBackwards(SequenceCache):
    def append(self, *new):
        if self._room:
            old = self.entries()
            self._room, self.length = [], 0
            new = tuple(torch.cat(pair, dim=-2) for pair in zip(new, old))
        return super().append(*new)


@mistake(
    "The length does not grow: each new token overwrites the one before.",
    "What is `length` after three tokens?",
)
class CacheThatForgets(SequenceCache):
    def append(self, *new):
        self._room, self.length = [], 0
        return super().append(*new)


@mistake(
    "`nbytes` counts the room that was reserved, not what is stored.",
    "Three numbers of four bytes are stored. What should `nbytes` say?",
)
class CacheCountingRoom(SequenceCache):
    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self._room)


@mistake(
    "`nbytes` counts numbers, not bytes.",
    "How many bytes does a float32 have, and how many a float64?",
)
class CacheCountingNumbers(SequenceCache):
    @property
    def nbytes(self):
        return sum(t.numel() for t in self.entries())


@mistake(
    "The entries are kept as they came, not copied: when the caller writes into its tensor, the past changes.",
    "What does the cache hold after the caller has reused its buffer?",
)
class CacheOfReferences(SequenceCache):
    def __init__(self):
        super().__init__()
        self._pieces = []

    def append(self, *new):
        self._pieces.append(new)
        self.length += new[0].shape[-2]
        return self.entries()

    def entries(self):
        return tuple(torch.cat(column, dim=-2) for column in zip(*self._pieces))


@mistake(
    "The first entries are kept as they came, not copied: when the caller writes into its tensor, the past changes.",
    "torch.cat makes a new tensor. What does your first append make?",
)
class CacheWithTheFirstByReference(CacheOfReferences.wrong):
    def append(self, *new):
        return super().append(*(tuple(t.clone() for t in new) if self._pieces else new))


@mistake(
    "`length` counts the calls of append. It should count the tokens.",
    "A prompt of three tokens comes in one call. What is `length` after it?",
)
class CacheCountingCalls(CacheOfReferences.wrong):
    def append(self, *new):
        whole = super().append(*(t.clone() for t in new))
        self.length = len(self._pieces)
        return whole


SEQUENCE_CACHE = (
    CacheOfTheNewest,
    CacheBackwards,
    CacheThatForgets,
    CacheCountingRoom,
    CacheCountingNumbers,
    CacheOfReferences,
    CacheWithTheFirstByReference,
    CacheCountingCalls,
)
