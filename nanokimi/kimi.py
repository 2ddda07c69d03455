"""Kimi: pre-norm blocks of latent attention and experts, RMSNorm, RoPE, an untied head, no biases anywhere.

x += attention(RMS(x)); x += FFN(RMS(x)). The first layers are a dense SwiGLU, the others a mixture of experts.
"""

from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from nanokimi.attention import CausalSelfAttention
from nanokimi.block_latent import BlockLatentAttention
from nanokimi.cache import LayerCache, SequenceCache, new_layer_cache, next_columns
from nanokimi.config import KimiConfig
from nanokimi.experts import SwiGLU
from nanokimi.first_weights import draw_first_weights_
from nanokimi.kda import KimiDeltaAttention
from nanokimi.mla import MultiHeadLatentAttention
from nanokimi.moe import MoE
from nanokimi.norm import RMSNorm
from nanokimi.output import ModelOutput, build_embedding
from nanokimi.own.table import find_own, is_own, require_clip
from nanokimi.own.trial import LENGTH, try_attention
from nanokimi.presets.tokens import check_tokens, look_up
from nanokimi.rope import rotations
from nanokimi.router import RouterStats
from nanokimi.system.checked import checked
from nanokimi.system.whole_numbers import Seed


def build_attention(cfg: KimiConfig, layer: int = 0) -> nn.Module:
    """The attention of layer `layer` (from 0). All kinds, one's own too, take and return the same."""
    name = cfg.attention_of(layer)
    if own := find_own(name):
        return own.module(cfg.d_model, cfg.n_heads, cfg.own_attention)
    if name == "kda" and cfg.kda is not None:
        return KimiDeltaAttention(cfg.d_model, cfg.n_heads, cfg.kda, cfg.norm_eps)
    if cfg.mla is not None:
        return MultiHeadLatentAttention(cfg.d_model, cfg.n_heads, cfg.mla, cfg.rope)
    if cfg.block_latent is not None:
        return BlockLatentAttention(cfg.d_model, cfg.n_heads, cfg.block_latent)
    return CausalSelfAttention(cfg.d_model, cfg.n_heads)


class KimiBlock(nn.Module):
    """One layer: attention, then a dense SwiGLU or a mixture of experts, each added to the residual stream."""

    def __init__(self, cfg: KimiConfig, layer: int):
        super().__init__()
        self.input_layernorm = RMSNorm(cfg.d_model, cfg.norm_eps)
        self.self_attn: Any = build_attention(cfg, layer)
        self.post_attention_layernorm = RMSNorm(cfg.d_model, cfg.norm_eps)
        if cfg.moe is None or cfg.is_dense(layer):
            self.mlp = SwiGLU(cfg.d_model, cfg.intermediate_size)
        else:
            self.mlp = MoE(cfg.d_model, cfg.moe)

    def forward(
        self,
        x: Float[Tensor, "batch seq d_model"],
        rotation: Complex[Tensor, "seq pairs"],
        cache: LayerCache | None,
        with_max_qk_logit: bool,
    ) -> tuple[Float[Tensor, "batch seq d_model"], RouterStats | None, Float[Tensor, " n_heads"] | None]:
        attended = self.self_attn(self.input_layernorm(x), rotation, cache, with_max_qk_logit)
        x = x + attended.out
        h = self.post_attention_layernorm(x)
        y, stats = self.mlp(h) if isinstance(self.mlp, MoE) else (self.mlp(h), None)
        return x + y, stats, attended.max_qk_logit

    def clip_qk_(self, max_qk_logit: Float[Tensor, " n_heads"], tau: float) -> None:
        """QK-clip of this layer's attention: the heads above `tau` come down to it."""
        self.self_attn.clip_qk_(max_qk_logit, tau)


class Kimi(nn.Module):
    """Tokens (batch, seq) to a `ModelOutput`: logits (batch, seq, vocab_size), and what every router decided.

    `cfg` gives the sizes; the weights are drawn from `seed`. A call raises `ValueError` for more tokens than
    `max_seq_len`, those in the cache included, and for tokens that are no ids (`presets.tokens`).

    >>> import torch
    >>> from nanokimi import Kimi, load_model_config
    >>> model = Kimi(load_model_config("kimi-smoke"))  # a dense layer, and a layer that picks 2 of 8 experts
    >>> out = model(torch.tensor([[1, 2, 3]]))
    >>> out.logits.shape
    torch.Size([1, 3, 512])
    >>> [stats.expert_idx.shape for stats in out.routing]
    [torch.Size([1, 3, 2])]
    """

    @checked
    def __init__(self, cfg: KimiConfig, seed: Seed = 0):
        super().__init__()
        self.cfg = cfg
        self.embed_tokens = build_embedding(cfg.vocab_size, cfg.d_model)
        self.layers = nn.ModuleList(KimiBlock(cfg, i) for i in range(cfg.n_layers))
        self.norm = RMSNorm(cfg.d_model, cfg.norm_eps)
        self.lm_head = nn.Linear(cfg.d_model, cfg.vocab_size, bias=False)
        generator = torch.Generator().manual_seed(seed)
        draw_first_weights_(self, cfg.n_layers, generator)
        _draw_delta_attention_(self, generator)
        _try_own_attention(cfg, self.layers[0].get_submodule("self_attn"), self.rope_dim)

    def moe_layers(self) -> list[MoE]:
        """The mixture-of-experts layers in order; `ModelOutput.routing` has one entry for each."""
        return [layer.mlp for layer in self.layers if isinstance(layer.mlp, MoE)]

    def new_cache(self) -> list[LayerCache]:
        """An empty cache, one entry per layer, to hand to `forward` while decoding."""
        names = (self.cfg.attention_of(layer) for layer in range(self.cfg.n_layers))
        return [new_layer_cache(name) for name in names]

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        cache: list[LayerCache] | None = None,
        with_max_qk_logit: bool = False,
    ) -> ModelOutput:
        """Logits for every position. With a cache, `tokens` are the new ones only, and the cache grows by them.

        `with_max_qk_logit` asks for the largest attention logits too, which QK-clip needs.
        """
        check_tokens(tokens)
        if with_max_qk_logit:
            require_clip(self.cfg.attention)
        columns = next_columns(cache, tokens, self.cfg.max_seq_len)
        rotation = rotations(columns, self.rope_dim, self.cfg.rope)
        x = look_up(self.embed_tokens, tokens)
        routing, maxima = [], []
        for i, layer in enumerate(self.layers):
            x, stats, layer_max = layer(x, rotation, cache[i] if cache else None, with_max_qk_logit)
            maxima.append(layer_max)
            if stats is not None:
                routing.append(stats)
        logits = self.lm_head(self.norm(x))
        return ModelOutput(logits, tuple(routing), torch.stack(maxima) if with_max_qk_logit else None)

    @property
    def rope_dim(self) -> int:
        """How many channels per head are turned by their position."""
        if self.cfg.mla is not None:
            return self.cfg.mla.qk_rope_head_dim
        return self.cfg.d_model // self.cfg.n_heads


def _draw_delta_attention_(model: nn.Module, generator: torch.Generator) -> None:
    """What of Kimi Delta Attention is no matrix, layer after layer."""
    for module in model.modules():
        if isinstance(module, KimiDeltaAttention) and not module.A_log.is_meta:
            module.draw_first_weights_(generator)


def _try_own_attention(cfg: KimiConfig, attention: nn.Module, rope_dim: int) -> None:
    """Where the attention is one's own: a look into the future or a wrong cache shows in no error later."""
    on_meta = any(p.is_meta for p in attention.parameters())
    if not isinstance(cfg.attention, str) or not is_own(cfg.attention) or on_meta:
        return
    n = min(LENGTH, cfg.max_seq_len)
    x = torch.randn(2, n, cfg.d_model, generator=torch.Generator().manual_seed(0))
    rotation = rotations(torch.arange(n), rope_dim, cfg.rope)
    try_attention(attention, cfg.attention, x, rotation, cfg.n_heads, SequenceCache)
