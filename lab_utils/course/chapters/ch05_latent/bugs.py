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
