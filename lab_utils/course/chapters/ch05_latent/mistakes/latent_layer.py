"""MultiHeadLatentAttention written out, as a learner writes it, with the places where a mistake goes."""

import torch

from nanokimi.attention import AttentionOutput, attend, join_heads, split_heads
from nanokimi.mla import MultiHeadLatentAttention as CoreMLA
from nanokimi.mla import absorb_query, expand_latent
from nanokimi.qk_clip import max_logit
from nanokimi.rope import apply_rope


class LatentLayer(CoreMLA):
    """The layer, right as it stands: a mistake replaces one method."""

    def forward(self, x, rotation, cache=None, with_max_qk_logit=False):
        q = self.turn_query(split_heads(self.project_query(x), self.n_heads), rotation)
        latent, k_rope = self.kv_a_proj(x).split([self.cfg.kv_lora_rank, self.cfg.qk_rope_head_dim], -1)
        latent, k_rope = self.norm_latent(latent), self.turn_key(k_rope, rotation)
        if cache is None:
            q, k, heads = self.naive(q, latent, k_rope)
        else:
            q, k, heads = self.cached(q, latent, k_rope, cache)
        largest = self.report(q, k) if with_max_qk_logit else None
        return AttentionOutput(self.out(heads), largest)

    def project_query(self, x):
        if self.cfg.q_lora_rank is None:
            return self.q_proj(x)
        return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))

    def turn_query(self, q, rotation):
        nope = self.cfg.qk_nope_head_dim
        return torch.cat([q[..., :nope], apply_rope(q[..., nope:], rotation)], dim=-1)

    def norm_latent(self, latent):
        return self.kv_a_layernorm(latent)

    def turn_key(self, k_rope, rotation):
        return apply_rope(k_rope, rotation)

    def expansions(self):
        widths = [self.cfg.qk_nope_head_dim, self.cfg.v_head_dim]
        return self.kv_b_proj.weight.unflatten(0, (self.n_heads, -1)).split(widths, dim=1)

    def naive(self, q, latent, k_rope):
        k, v = expand_latent(latent, k_rope, *self.expansions())
        return q, k, self.attend(q, k, v)

    def attend(self, q, k, v):
        return attend(q, k, v, self.scale)

    def cached(self, q, latent, k_rope, cache):
        entries = self.keep(cache, latent, k_rope)
        k = entries[:, None].expand(-1, self.n_heads, -1, -1)
        expand_k, expand_v = self.expansions()
        q = absorb_query(q, expand_k)
        return q, k, self.attend_absorbed(q, k, k[..., : self.cfg.kv_lora_rank]) @ expand_v.mT

    def keep(self, cache, latent, k_rope):
        (entries,) = cache.append(torch.cat([latent, k_rope], dim=-1))
        return entries

    def attend_absorbed(self, q, k, v):
        return self.attend(q, k, v)

    def report(self, q, k):
        return max_logit(q, k, self.scale)

    def out(self, heads):
        return self.o_proj(join_heads(heads))
