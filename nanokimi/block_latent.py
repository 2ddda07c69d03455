"""Block latent attention: learned latent vectors summarise the past, block by block, and never see the future.

Every complete block of `block_len` tokens is compressed by cross-attention into `n_latents` vectors: the latents are
the queries, the block's tokens the keys and values. A token then attends over the latents of all earlier blocks and
over the tokens of its own block up to itself. A cache holds `n_latents` entries per finished block and at most
`block_len` tokens.

This compresses the context. K2 does something else: MLA compresses channels and keeps every token. A compression of
the whole input at once, the obvious first version, leaks the future: the latents that token 0 reads have seen token
100. Here a token reads block j only if j ended before the token's own block began.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from nanokimi.attention import AttentionOutput, attend, join_heads, split_heads
from nanokimi.cache import BlockLatentCache
from nanokimi.config import BlockLatentConfig
from nanokimi.first_weights import draw_weight
from nanokimi.mask import block_visibility
from nanokimi.qk_clip import clip_factor, max_logit, scale_heads_
from nanokimi.rope import apply_rope


class BlockLatentAttention(nn.Module):
    """Causal attention over compressed blocks. With `block_len` above the context it is ordinary attention.

    `d_model` must be a multiple of 2·`n_heads`, since channels are turned in pairs.
    """

    def __init__(self, d_model: int, n_heads: int, cfg: BlockLatentConfig):
        super().__init__()
        self.n_heads, self.cfg = n_heads, cfg
        self.scale = (d_model // n_heads) ** -0.5
        self.latents = draw_weight(cfg.n_latents, d_model)
        self.latent_q_proj = nn.Linear(d_model, d_model, bias=False)
        self.latent_k_proj = nn.Linear(d_model, d_model, bias=False)
        self.latent_v_proj = nn.Linear(d_model, d_model, bias=False)
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)

    def compress(
        self, blocks: Float[Tensor, "batch blocks block_len d_model"]
    ) -> Float[Tensor, "batch blocks n_latents d_model"]:
        """The latents of every block, Z = softmax(L·Wlq (X·Wlk)ᵀ / sqrt d) · X·Wlv: each picks from its block alone."""
        q, k, v = self.latent_q_proj(self.latents), self.latent_k_proj(blocks), self.latent_v_proj(blocks)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return weights @ v

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"],
        cache: BlockLatentCache | None = None,
        with_max_qk_logit: bool = False,
    ) -> AttentionOutput:
        if cache is not None:
            return self._forward_cached(x, rotation, cache, with_max_qk_logit)
        (m, b), seq_len = (self.cfg.n_latents, self.cfg.block_len), x.shape[1]
        n_blocks = seq_len // b
        z = self.compress(x[:, : n_blocks * b].unflatten(1, (n_blocks, b))).flatten(1, 2)
        # A latent stands where its block ends: the last position that it has seen.
        z_rotation = rotation[b - 1 : n_blocks * b : b].repeat_interleave(m, dim=0)
        k, v = self._keys_values(torch.cat([z, x], dim=1), torch.cat([z_rotation, rotation]))
        q = apply_rope(split_heads(self.q_proj(x), self.n_heads), rotation)
        visible = block_visibility(seq_len, b, m, x.device)
        out = self.o_proj(join_heads(attend(q, k, v, self.scale, visible)))
        return AttentionOutput(out, max_logit(q, k, self.scale, visible) if with_max_qk_logit else None)

    def _keys_values(
        self, x: Float[Tensor, "batch seq d_model"], rotation: Complex[Tensor, "seq pairs"]
    ) -> tuple[Float[Tensor, "batch n_heads seq head_dim"], Float[Tensor, "batch n_heads seq head_dim"]]:
        k = apply_rope(split_heads(self.k_proj(x), self.n_heads), rotation)
        return k, split_heads(self.v_proj(x), self.n_heads)

    def _forward_cached(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"],
        cache: BlockLatentCache,
        with_max_qk_logit: bool,
    ) -> AttentionOutput:
        """The same output with a cache: the new tokens are taken in pieces that end where a block ends."""
        outs, maxima, start = [], [], 0
        while start < x.shape[1]:
            room = self.cfg.block_len - cache.length % self.cfg.block_len
            piece = slice(start, min(start + room, x.shape[1]))
            new = x[:, piece]
            k, v = cache.append(*self._keys_values(new, rotation[piece]), new)
            q = apply_rope(split_heads(self.q_proj(new), self.n_heads), rotation[piece])
            outs.append(self.o_proj(join_heads(attend(q, k, v, self.scale))))
            if with_max_qk_logit:
                maxima.append(max_logit(q, k, self.scale))
            if cache.length % self.cfg.block_len == 0:
                z = self.compress(cache.block()).flatten(1, 2)
                end_rotation = rotation[piece][-1:].expand(self.cfg.n_latents, -1)
                cache.close_block(*self._keys_values(z, end_rotation))
            start = piece.stop
        return AttentionOutput(torch.cat(outs, dim=1), torch.stack(maxima).amax(0) if maxima else None)

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip, as in ordinary attention: sqrt(g) on the query rows and on the key rows of every head."""
        root = clip_factor(max_qk_logit, tau).sqrt()
        scale_heads_(self.q_proj.weight, root)
        scale_heads_(self.k_proj.weight, root)
