"""Broken pieces of notebook 05."""

import torch
from torch import nn

from nanokimi.attention import AttentionOutput, attend, join_heads
from nanokimi.mla import MultiHeadLatentAttention, absorb_query, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope


def attend_latents(q, latent, k_rope, expand_k, expand_v):
    """Absorbed attention over the latents. It runs, it trains, every shape is right; what is wrong?"""
    q = absorb_query(q, expand_k)
    k = torch.cat([latent, k_rope], dim=-1)[:, None].expand(-1, q.shape[1], -1, -1)
    scale = q.shape[-1] ** -0.5
    return attend(q, k, k[..., : latent.shape[-1]], scale) @ expand_v.transpose(1, 2)


class LatentAttentionOfAColleague(MultiHeadLatentAttention):
    """Latent attention with a cache of latents. Every output is right, with a cache and without; what is wrong?"""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        q = self._queries(x, rotation)
        latent, k_rope = self.kv_a_proj(x).split([self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim], -1)
        latent, k_rope = self.kv_a_layernorm(latent), apply_rope(k_rope, rotation)
        widths = [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim]
        expand_k, expand_v = self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(widths, dim=1)
        latents = expand_latent(latent, k_rope, expand_k, expand_v)
        if cache is not None:
            latents = cache.append(*latents)
        out = self.o_proj(join_heads(attend(q, *latents, self.scale)))
        return AttentionOutput(out, max_logit(q, latents[0], self.scale) if with_max_qk_logit else None)


class SummaryAttention(nn.Module):
    """A few learned latents sum up the text; every token reads the summary and its past. What is wrong?"""

    def __init__(self, d_model: int, n_latents: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(n_latents, d_model))
        self.latent_k_proj = nn.Linear(d_model, d_model, bias=False)
        self.latent_v_proj = nn.Linear(d_model, d_model, bias=False)
        self.qkv_proj = nn.ModuleList(nn.Linear(d_model, d_model, bias=False) for _ in range(3))

    def forward(self, x):
        scale, seq_len = x.shape[-1] ** -0.5, x.shape[1]
        scores = self.latents @ self.latent_k_proj(x).mT * scale
        z = scores.softmax(dim=-1) @ self.latent_v_proj(x)
        summary_and_text = torch.cat([z, x], dim=1)
        q = self.qkv_proj[0](x)
        k, v = (proj(summary_and_text) for proj in self.qkv_proj[1:])
        causal = torch.ones(seq_len, seq_len, dtype=torch.bool).tril()
        visible = torch.cat([torch.ones(seq_len, z.shape[1], dtype=torch.bool), causal], dim=1)
        return attend(q[:, None], k[:, None], v[:, None], scale, visible)[:, 0]


def attend_expanded_latents(q, latent, k_rope, expand_k, expand_v):
    """The same fault, in the expanded form."""
    scale = (latent.shape[-1] + k_rope.shape[-1]) ** -0.5
    return attend(q, *expand_latent(latent, k_rope, expand_k, expand_v), scale)


class LatentAttentionWithJoinedHeads(MultiHeadLatentAttention):
    """The same fault: keys and values of all heads, joined in one tensor."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        q, latents = self._queries(x, rotation), _expand(self, x, rotation)
        if cache is not None:
            (joined,) = cache.append(torch.cat(latents, dim=-1))
            latents = joined.split([t.shape[-1] for t in latents], dim=-1)
        out = self.o_proj(join_heads(attend(q, *latents, self.scale)))
        return AttentionOutput(out, max_logit(q, latents[0], self.scale) if with_max_qk_logit else None)


def _expand(layer, x, rotation):
    """Keys and values of every head, expanded from the latents."""
    cfg = layer.cfg
    latent, k_rope = layer.kv_a_proj(x).split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], -1)
    expand_k, expand_v = layer.kv_b_proj.weight.unflatten(0, (layer.n_heads, -1)).split(
        [cfg.qk_nope_head_dim, cfg.v_head_dim], dim=1
    )
    return expand_latent(layer.kv_a_layernorm(latent), apply_rope(k_rope, rotation), expand_k, expand_v)


class OneSummary(nn.Module):
    """The same fault: a single summary, which is added to every token."""

    def forward(self, x):
        weights = x.sum(dim=-1, keepdim=True).tanh().softmax(dim=1)
        return x + (weights * x).sum(dim=1, keepdim=True)
