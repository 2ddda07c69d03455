"""The known wrong answers to SequenceCache, of notebook 10, that count its bytes wrongly."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.cache import SequenceCache


class Joined:
    """A sound cache that joins old and new; the mistakes below change a part of it."""

    dim = -2
    kept: tuple = ()

    def __init__(self):
        self.length = 0

    def append(self, *new):
        self.kept = self.join(new) if self.kept else tuple(t.clone() for t in new)
        self.length += self.count(new)
        return self.entries()

    def join(self, new):
        return tuple(torch.cat(pair, dim=self.dim) for pair in zip(self.kept, new))

    def count(self, new):
        return new[0].shape[-2]

    def entries(self):
        return self.kept

    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self.entries())


@mistake(
    "Places that wait for later tokens are counted too.",
    "Three numbers of four bytes are stored. What should `nbytes` say?",
)
class CacheCountingRoom(SequenceCache):
    @property
    def nbytes(self):
        return sum(t.numel() * t.element_size() for t in self._room)


@mistake("`nbytes` counts numbers, not bytes.", "How many bytes does a float32 have, and how many a float64?")
class CacheCountingNumbers(Joined):
    @property
    def nbytes(self):
        return sum(t.numel() for t in self.entries())


@mistake("`nbytes` takes every number for four bytes. A float64 has eight.", "What does element_size() say?")
class CacheOfFourBytes(Joined):
    @property
    def nbytes(self):
        return sum(4 * t.numel() for t in self.entries())


@mistake("`nbytes` counts the first tensor only.", "Attention stores keys and values. Which of them count?")
class CacheCountingTheFirstTensor(Joined):
    @property
    def nbytes(self):
        return self.kept[0].numel() * self.kept[0].element_size()


@mistake(
    "`nbytes` counts the first tensor, times the number of tensors. They need not be of one size.",
    "In a latent cache, is the part for the positions as wide as the latent?",
)
class CacheCountingTheFirstForAll(Joined):
    @property
    def nbytes(self):
        return len(self.kept) * self.kept[0].nbytes


BYTES = (
    CacheCountingRoom,
    CacheCountingNumbers,
    CacheOfFourBytes,
    CacheCountingTheFirstTensor,
    CacheCountingTheFirstForAll,
)
