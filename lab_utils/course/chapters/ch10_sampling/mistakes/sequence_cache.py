"""The known wrong answers to SequenceCache, of notebook 10."""

import torch

from lab_utils.course.chapters.ch10_sampling.mistakes.cache_bytes import BYTES, Joined
from lab_utils.course.exercise import mistake
from nanokimi.cache import SequenceCache

# ---------------------------------------------------------------- what is kept


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
class CacheBackwards(Joined):
    def join(self, new):
        return tuple(torch.cat(pair, dim=-2) for pair in zip(new, self.kept))


@mistake(
    "The length does not grow: each new token overwrites the one before.",
    "What is `length` after three tokens?",
)
class CacheThatForgets(SequenceCache):
    def append(self, *new):
        self._room, self.length = [], 0
        return super().append(*new)


@mistake(
    "Only the newest entries are kept, although `length` counts all tokens.",
    "Where do the entries of the token before stay?",
)
class CacheThatKeepsTheNewest(Joined):
    def join(self, new):
        return tuple(t.clone() for t in new)


@mistake(
    "When more room is made, the entries that were stored are not copied into it: the past is lost.",
    "What is in the new tensor before you write the newest entries?",
)
class CacheLosingThePast(SequenceCache):
    def _grow(self, new, end):
        self._room = [t.new_zeros(*t.shape[:-2], 2 * end, t.shape[-1]) for t in new]


@mistake(
    "The tensors are joined along dimension 1. Time is dimension -2.",
    "Keys are (batch, heads, tokens, channels), latents (batch, tokens, channels). Which dimension is -2?",
)
class CacheAlongDimensionOne(Joined):
    dim = 1


@mistake(
    "The tensors are joined along dimension 2. That is time for keys, which have four dimensions, but not for latents, "
    "which have three: count from the end, -2.",
    "Which shape do the latents of notebook 05 have?",
)
class CacheAlongDimensionTwo(Joined):
    dim = 2


@mistake(
    "The tensors are joined along the last dimension, the channels. Time is dimension -2.",
    "Which dimension should grow by one for a new token?",
)
class CacheAlongTheChannels(Joined):
    dim = -1


@mistake(
    "Only the first tensor is joined to what was there; the others hold the newest entries alone.",
    "Attention appends keys and values. What happens to the second one?",
)
class CacheOfTheFirstTensor(Joined):
    def join(self, new):
        return (torch.cat([self.kept[0], new[0]], dim=-2), *(t.clone() for t in new[1:]))


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
    "The entries become float32, whatever format they came in.",
    "Which dtype should a cache of float64 or bfloat16 keys have?",
)
class CacheInFloat32(Joined):
    def append(self, *new):
        return super().append(*(t.float() for t in new))


@mistake(
    "All caches share one store: what one layer appends, every layer finds.",
    "Is it a list of the class, or a default argument? `self.x = ...` in __init__ makes one per cache.",
)
class CacheOfTheClass(Joined):
    store: dict = {}  # noqa: RUF012  the mistake

    def __init__(self):
        self.length = 0
        self.store.clear()

    @property
    def kept(self):
        return self.store.get("kept", ())

    @kept.setter
    def kept(self, value):
        self.store["kept"] = value


@mistake(
    "Where there is one tensor, it comes back by itself. The result is always a tuple, of one tensor too.",
    "What does `(latent,) = cache.append(latent)` do with a bare tensor?",
)
class CacheWithoutATuple(Joined):
    def append(self, *new):
        whole = super().append(*new)
        return whole if len(whole) > 1 else whole[0]


@mistake(
    "`length` counts the calls of append. It should count the tokens.",
    "A prompt of three tokens comes in one call. What is `length` after it?",
)
class CacheCountingCalls(Joined):
    def count(self, new):
        return 1


@mistake("`length` stays 0.", "Where does append change `self.length`?")
class CacheWithoutCounting(Joined):
    def count(self, new):
        return 0


@mistake(
    "`length` is the number of the newest tokens. It should count all that are stored.",
    "Two tokens, then one: what is `length`?",
)
class CacheCountingTheNewest(Joined):
    def count(self, new):
        return new[0].shape[-2] - self.length


@mistake(
    "`length` counts the tokens of every tensor: keys and values count twice.",
    "How many tokens have two keys?",
)
class CacheCountingEveryTensor(Joined):
    def count(self, new):
        return sum(t.shape[-2] for t in new)


@mistake(
    "`length` is read from dimension 1, which is the heads of a key. Time is dimension -2.",
    "Keys are (batch, heads, tokens, channels). Which dimension counts the tokens?",
)
class CacheCountingHeads(Joined):
    def count(self, new):
        return self.kept[0].shape[1] - self.length


@mistake(
    "`length` is read from dimension 2. That is time for keys, which have four dimensions, but not for latents, which "
    "have three.",
    "Which shape do the latents of notebook 05 have?",
)
class CacheCountingDimensionTwo(Joined):
    def count(self, new):
        return new[0].shape[2]


@mistake(
    "Dimension 1 is taken for time: the tensors are joined along it, and `length` is its size. Time is dimension -2.",
    "Keys are (batch, heads, tokens, channels). Which dimension grows with a token?",
)
class CacheWithTimeInDimensionOne(Joined):
    dim = 1

    def count(self, new):
        return self.kept[0].shape[1] - self.length


SEQUENCE_CACHE = (
    CacheOfTheNewest,
    CacheBackwards,
    CacheThatForgets,
    CacheThatKeepsTheNewest,
    CacheLosingThePast,
    CacheAlongDimensionOne,
    CacheAlongDimensionTwo,
    CacheWithTimeInDimensionOne,
    CacheAlongTheChannels,
    CacheOfTheFirstTensor,
    CacheOfReferences,
    CacheWithTheFirstByReference,
    CacheInFloat32,
    CacheOfTheClass,
    CacheWithoutATuple,
    CacheCountingCalls,
    CacheWithoutCounting,
    CacheCountingTheNewest,
    CacheCountingEveryTensor,
    CacheCountingHeads,
    CacheCountingDimensionTwo,
    *BYTES,
)
