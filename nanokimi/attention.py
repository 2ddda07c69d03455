"""Causal multi-head attention with rotary positions, and the cache that decoding needs.

`attend` is the pure function; `CausalSelfAttention` only owns the weights. A token at position t reads the
tokens s <= t: softmax over s of scale · q_t·k_s, then the weighted mean of v_s.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from nanokimi.rope import apply_rope


class AttentionOutput(NamedTuple):
    """The layer's output and, where asked for, each head's largest scaled logit over all visible pairs."""

    out: Float[Tensor, "batch seq d_model"]
    max_qk_logit: Float[Tensor, " n_heads"] | None


class SequenceCache:
    """What a layer keeps of the tokens it has seen: named tensors that grow along time (dimension -2).

    Room is doubled when it runs out, so a token costs constant time on average. `nbytes` counts what is
    stored, not the room.
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


def causal_mask(n_queries: int, n_keys: int, device: torch.device) -> Bool[Tensor, "n_queries n_keys"]:
    """True where a query may look; the queries are the last `n_queries` of `n_keys` positions."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def attend(
    q: Float[Tensor, "batch n_heads queries qk_dim"],
    k: Float[Tensor, "batch n_heads keys qk_dim"],
    v: Float[Tensor, "batch n_heads keys v_dim"],
    scale: float,
    visible: Bool[Tensor, "queries keys"] | None = None,
) -> Float[Tensor, "batch n_heads queries v_dim"]:
    """softmax(scale · q·kᵀ)·v over the visible keys; causal, with the queries last, unless `visible` says more."""
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    if visible is None and n_queries == n_keys:
        return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=True)
    if visible is None and n_queries > 1:
        visible = causal_mask(n_queries, n_keys, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)


@torch.no_grad()
def max_logit(
    q: Float[Tensor, "batch n_heads queries qk_dim"],
    k: Float[Tensor, "batch n_heads keys qk_dim"],
    scale: float,
    visible: Bool[Tensor, "queries keys"] | None = None,
) -> Float[Tensor, " n_heads"]:
    """The largest scaled logit of every head over the batch and the visible pairs: exact, for QK-clip.

    Queries are taken 64 at a time with the keys that they can see, so that memory grows with the context, not
    with its square, and half of the products are never made.
    """
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    best = q.new_full((q.shape[1],), -torch.inf)
    for start in range(0, n_queries, 64):
        stop = min(start + 64, n_queries)
        if visible is None:
            seen = n_keys - n_queries + stop
            mask = causal_mask(stop - start, seen, q.device)
        else:
            seen, mask = n_keys, visible[start:stop]
        logits = q[:, :, start:stop] @ k[:, :, :seen].transpose(-1, -2)
        best = torch.maximum(best, logits.masked_fill_(~mask, -torch.inf).amax(dim=(0, 2, 3)))
    return best.float() * scale


def split_heads(
    x: Float[Tensor, "batch seq width"], n_heads: int
) -> Float[Tensor, "batch n_heads seq head_dim"]:
    """Cut the channels into heads: (B, T, H·d) to (B, H, T, d)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def join_heads(x: Float[Tensor, "batch n_heads seq head_dim"]) -> Float[Tensor, "batch seq width"]:
    """Put the heads side by side again: (B, H, T, d) to (B, T, H·d)."""
    return x.transpose(1, 2).flatten(2)


class CausalSelfAttention(nn.Module):
    """Ordinary multi-head attention with RoPE on the whole head. Caches 2·d_model numbers a token."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.scale = (d_model // n_heads) ** -0.5
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"],
        cache: SequenceCache | None = None,
        with_max_qk_logit: bool = False,
    ) -> AttentionOutput:
        q = apply_rope(split_heads(self.q_proj(x), self.n_heads), rotation)
        k = apply_rope(split_heads(self.k_proj(x), self.n_heads), rotation)
        v = split_heads(self.v_proj(x), self.n_heads)
        if cache is not None:
            k, v = cache.append(k, v)
        out = self.o_proj(join_heads(attend(q, k, v, self.scale)))
        return AttentionOutput(out, max_logit(q, k, self.scale) if with_max_qk_logit else None)

    @torch.no_grad()
    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip: shrink the heads whose largest logit passed tau so that it becomes tau (Kimi K2, sec. 2.1)."""
        root = (tau / max_qk_logit.clamp(min=tau)).sqrt()[:, None, None]
        for proj in (self.q_proj, self.k_proj):
            proj.weight.unflatten(0, (self.n_heads, -1)).mul_(root)
