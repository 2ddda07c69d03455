"""Causal multi-head attention with rotary positions (Vaswani et al. 2017).

`attend` is the pure function; `CausalSelfAttention` only owns the weights. The token at position t reads the tokens
s <= t: softmax over s of scale · q_t·k_s, then the weighted mean of v_s.
"""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from nanokimi.cache import SequenceCache, visible_entries
from nanokimi.mask import causal_mask
from nanokimi.qk_clip import clip_factor, max_logit, scale_heads_
from nanokimi.rope import apply_rope


class AttentionOutput(NamedTuple):
    """What every attention returns: its output, and where the caller asked for it each head's largest scaled logit."""

    out: Float[Tensor, "batch seq d_model"]
    max_qk_logit: Float[Tensor, " n_heads"] | None


def attend(
    q: Float[Tensor, "batch n_heads queries qk_dim"],
    k: Float[Tensor, "batch n_heads keys qk_dim"],
    v: Float[Tensor, "batch n_heads keys v_dim"],
    scale: float,
    visible: Bool[Tensor, "*batch_and_head queries keys"] | None = None,
) -> Float[Tensor, "batch n_heads queries v_dim"]:
    """softmax(scale · q·kᵀ)·v over the visible keys.

    Visible is what `visible` says; without it, what is causal, where the queries are the last of the keys' positions.
    """
    n_queries, n_keys = q.shape[-2], k.shape[-2]
    if visible is None and n_queries == n_keys:
        return F.scaled_dot_product_attention(q, k, v, scale=scale, is_causal=True)
    if visible is None and n_queries > 1:
        visible = causal_mask(n_queries, n_keys, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale)


def attend_shared(
    q: Float[Tensor, "batch n_heads queries qk_dim"],
    k: Float[Tensor, "batch keys qk_dim"],
    v: Float[Tensor, "batch keys v_dim"],
    scale: float,
    visible: Bool[Tensor, "batch head queries keys"] | None = None,
) -> Float[Tensor, "batch n_heads queries v_dim"]:
    """`attend` where all heads share their keys and values (multi-query attention)."""
    if q.shape[2] > 1:
        k, v = (t[:, None].expand(-1, q.shape[1], -1, -1) for t in (k, v))
        return attend(q, k, v, scale, visible)
    # The heads of one query are as many queries of one head, for which nothing is repeated in memory.
    heads = F.scaled_dot_product_attention(
        q.transpose(1, 2), k[:, None], v[:, None], attn_mask=visible, scale=scale
    )
    return heads.transpose(1, 2)


def split_heads(
    x: Float[Tensor, "batch seq width"], n_heads: int
) -> Float[Tensor, "batch n_heads seq head_dim"]:
    """The channels cut into heads: (B, T, H·d) becomes (B, H, T, d)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def join_heads(x: Float[Tensor, "batch n_heads seq head_dim"]) -> Float[Tensor, "batch seq width"]:
    """The heads side by side again: (B, H, T, d) becomes (B, T, H·d)."""
    return x.transpose(1, 2).flatten(2)


class CausalSelfAttention(nn.Module):
    """Ordinary multi-head attention with RoPE on the whole head. It caches 2·d_model numbers per token.

    `d_model` must be a multiple of 2·`n_heads`, since channels are turned in pairs.
    """

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
        out = self.o_proj(join_heads(attend(q, k, v, self.scale, visible_entries(cache, q))))
        return AttentionOutput(out, max_logit(q, k, self.scale) if with_max_qk_logit else None)

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip: sqrt(g) on the query rows and on the key rows of every head (see `qk_clip`)."""
        root = clip_factor(max_qk_logit, tau).sqrt()
        scale_heads_(self.q_proj.weight, root)
        scale_heads_(self.k_proj.weight, root)
