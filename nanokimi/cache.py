"""What a layer keeps of the tokens that it has seen, so that decoding computes each token once."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class SequenceCache:
    """Named tensors that grow along time (dimension -2): keys and values, or the latents of MLA.

    `length` is the number of tokens. Room is doubled when it runs out, so that the cost per token is constant on
    average. `nbytes` counts what is stored, not the room.
    """

    def __init__(self) -> None:
        self.length = 0
        self._room: list[Tensor] = []

    def append(self, *new: Tensor) -> tuple[Tensor, ...]:
        """Store the newest entries of every tensor; returns each whole, from the first token on."""
        end = self.length + new[0].shape[-2]
        if not self._room or end > self._room[0].shape[-2]:
            self._grow(new, end)
        for room, tensor in zip(self._room, new, strict=True):
            room[..., self.length : end, :] = tensor
        self.length = end
        return self.entries()

    def entries(self) -> tuple[Tensor, ...]:
        """Every stored tensor, from the first token on."""
        return tuple(room[..., : self.length, :] for room in self._room)

    @property
    def nbytes(self) -> int:
        """Bytes of the stored entries, all sequences of the batch together."""
        return sum(t.numel() * t.element_size() for t in self.entries())

    def _grow(self, new: tuple[Tensor, ...], end: int) -> None:
        old, self._room = self.entries(), []
        for i, tensor in enumerate(new):
            room = tensor.new_empty(*tensor.shape[:-2], 2 * end, tensor.shape[-1])
            if old:
                room[..., : self.length, :] = old[i]
            self._room.append(room)


class PaddedCache(SequenceCache):
    """A cache for texts of different lengths, whose last tokens stand side by side: shorter ones begin with padding.

    `padding` is how many entries of each text's row are none of its own, and `is_even` whether that is 0 for all.
    """

    def __init__(self, padding: list[int], device: torch.device | None = None) -> None:
        super().__init__()
        self.padding, self.is_even = torch.tensor(padding, device=device), not any(padding)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all texts but these rows."""
        self.padding = self.padding[rows]
        self._room = [room[rows] for room in self._room]

    def columns(self) -> Int[Tensor, " entries"]:
        """Every column that `append` has returned."""
        return torch.arange(self.length, device=self.padding.device)

    def newest(self, n: int) -> Int[Tensor, " n"]:
        """The columns of the newest `n` tokens."""
        return self.columns()[-n:]


class FixedCache(PaddedCache):
    """A cache that has room for `max_seq_len` tokens from the first one on, for a compiled step: nothing in it grows.

    `position` is the column of the first new token, and all layers share it. It is a tensor, because a step is compiled
    for the numbers that it reads. Whoever runs the model moves it on afterwards, and `length` with it.
    """

    def __init__(self, padding: list[int], position: Int[Tensor, " one"], max_seq_len: int) -> None:
        super().__init__(padding, position.device)
        self.is_even, self.position, self.max_seq_len = False, position, max_seq_len

    def append(self, *new: Tensor) -> tuple[Tensor, ...]:
        """Store the newest entries of every tensor; returns each whole, with the room that is not yet used."""
        if not self._room:
            # Zeros, because what is hidden has a weight of 0, and that times NaN is NaN.
            self._room = [t.new_zeros(*t.shape[:-2], self.max_seq_len, t.shape[-1]) for t in new]
        for room, tensor in zip(self._room, new, strict=True):
            room.index_copy_(-2, self.newest(tensor.shape[-2]), tensor)
        return tuple(self._room)

    def columns(self) -> Int[Tensor, " entries"]:
        return torch.arange(self.max_seq_len, device=self.padding.device)

    def newest(self, n: int) -> Int[Tensor, " n"]:
        return self.position + torch.arange(n, device=self.padding.device)


def text_positions(cache: SequenceCache | None, columns: Int[Tensor, " seq"]) -> Int[Tensor, "*batch seq"]:
    """The place in its text of every token, from the columns in which they stand; 0 for padding."""
    if not isinstance(cache, PaddedCache) or cache.is_even:
        return columns
    return (columns - cache.padding[:, None]).clamp(min=0)


def visible_entries(
    cache: SequenceCache | None, q: Float[Tensor, "batch n_heads n_queries channels"]
) -> Bool[Tensor, "batch 1 n_queries entries"] | None:
    """True where the queries `q`, of the newest tokens, may look in a cache with padding; None where there is none.

    Padding sees padding, so that its rows have something to look at. No text sees it.
    """
    if not isinstance(cache, PaddedCache) or cache.is_even:
        return None
    keys, queries = cache.columns(), cache.newest(q.shape[2])[:, None]
    is_padding = keys < cache.padding[:, None, None]
    return ((keys <= queries) & (~is_padding | (queries < cache.padding[:, None, None])))[:, None]


class BlockLatentCache:
    """For block latent attention: keys and values of the finished blocks' latents, and the tokens of the open block.

    `length` is the number of tokens, those of finished blocks included.
    """

    def __init__(self) -> None:
        self.length = 0
        # Keys (turned by their position) and values of the latents: (batch, n_heads, blocks·n_latents, head_dim).
        self._latents: tuple[Tensor, ...] = ()
        # Keys, values and inputs of the open block's tokens; the inputs are (batch, 1, tokens, d_model).
        self._tokens: tuple[Tensor, ...] = ()

    def append(self, k: Tensor, v: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        """Add tokens to the open block; returns the keys and values that its last token sees, latents first."""
        self._tokens = _join(self._tokens, (k, v, x[:, None]))
        self.length += x.shape[1]
        return _join(self._latents, self._tokens[:2])

    def block(self) -> Tensor:
        """The inputs of the open block: (batch, 1, tokens, d_model)."""
        return self._tokens[2]

    def close_block(self, k: Tensor, v: Tensor) -> None:
        """Replace the open block's tokens by the keys and values of its latents."""
        self._latents, self._tokens = _join(self._latents, (k, v)), ()

    @property
    def nbytes(self) -> int:
        """Bytes of the stored entries, all sequences of the batch together."""
        return sum(t.numel() * t.element_size() for t in (*self._latents, *self._tokens))


def _join(old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Each tensor of `old` with that of `new` behind it in time."""
    return tuple(torch.cat(pair, dim=2) for pair in zip(old, new, strict=True)) if old else new


class StateCache:
    """For Kimi Delta Attention: its state and the newest inputs of its convolution, as large at every length.

    `state` (batch, n_heads, k_dim, v_dim) and `inputs` (batch, taps - 1, channels) are there once `length`, the number
    of tokens, is above 0. `padding`: how many first columns of each text's row are none of its own; empty for none.
    """

    def __init__(self, padding: Sequence[int] = (), device: torch.device | None = None) -> None:
        self.length = 0
        self.padding = torch.tensor(padding, dtype=torch.long, device=device)
        self.is_even = not any(padding)
        self.state, self.inputs = torch.empty(0), torch.empty(0)

    def hide_padding(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        """The new tokens with zeros in place of padding, which then leaves state and inputs at 0."""
        if self.is_even:
            return x
        columns = torch.arange(self.length, self.length + x.shape[1], device=x.device)
        return x.masked_fill((columns < self.padding[:, None])[..., None], 0)

    def store(self, inputs: Tensor, state: Tensor, n_new: int) -> None:
        """Keep the newest inputs, and the state after `n_new` more tokens."""
        self.inputs, self.state = inputs, state
        self.length += n_new

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Forget all texts but these rows."""
        if len(self.padding):
            self.padding = self.padding[rows]
        self.state, self.inputs = self.state[rows], self.inputs[rows]

    @property
    def nbytes(self) -> int:
        """Bytes of the stored entries, all sequences of the batch together."""
        return sum(t.numel() * t.element_size() for t in (self.state, self.inputs))


LayerCache = SequenceCache | BlockLatentCache | StateCache


def new_layer_cache(
    attention: str, padding: Sequence[int] = (), device: torch.device | None = None
) -> LayerCache:
    """An empty cache for a layer of this attention; `padding` for texts of different lengths, empty for one length."""
    if attention == "kda":
        return StateCache(padding, device)
    if attention == "block_latent":
        return BlockLatentCache()
    return PaddedCache(list(padding), device) if padding else SequenceCache()


def next_columns(
    cache: Sequence[LayerCache] | None, tokens: Int[Tensor, "batch seq"], max_seq_len: int
) -> Int[Tensor, " seq"]:
    """The columns in which the new `tokens` stand, behind those in the layers' caches.

    Raises `ValueError` for more than `max_seq_len` tokens, those in the cache included.
    """
    if cache and isinstance(cache[0], FixedCache):
        return cache[0].newest(tokens.shape[1])
    start = cache[0].length if cache else 0
    end = start + tokens.shape[1]
    if end > max_seq_len:
        raise ValueError(f"{end} tokens are more than max_seq_len={max_seq_len} of this model")
    return torch.arange(start, end, device=tokens.device)
