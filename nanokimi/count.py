"""Counts that say how large a model is: parameters, active parameters, operations and cache elements per token.

The parameters are counted on the model itself, built on the meta device (shapes without memory), so that a laptop
counts a trillion of them. The rest follows from the configuration.
"""

from typing import NamedTuple

import torch

from nanokimi.config import BlockLatentConfig, KimiConfig, ModelConfig
from nanokimi.model import build_model
from nanokimi.own.table import is_own
from nanokimi.system.refusals import ConfigError


class ParameterCount(NamedTuple):
    """The number of parameters. Active are those that one token uses: all but E - K of the E routed experts.

    The `body` counts leave out embeddings (of positions too) and the head, as papers do to compare architectures.
    """

    total: int
    active: int
    body_total: int
    body_active: int


def count_parameters(cfg: ModelConfig) -> ParameterCount:
    """The counts of the model that `cfg` describes. Landmark: K2 has 1026.4 B parameters, 32.86 B of them active."""
    with torch.device("meta"):
        model = build_model(cfg)
    total = sum(p.numel() for p in model.parameters())
    tables = sum(p.numel() for n, p in model.named_parameters() if n.startswith(("embed_", "lm_head")))
    idle = 0
    if isinstance(cfg, KimiConfig) and cfg.moe is not None:
        routed = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
        idle = routed * (cfg.moe.n_routed_experts - cfg.moe.top_k) // cfg.moe.n_routed_experts
    return ParameterCount(total, total - idle, total - tables, total - tables - idle)


def flops_per_token(cfg: ModelConfig, seq_len: int) -> float:
    """Floating-point operations per token of a training step, forward and backward; a multiply-add counts as two.

    6 for every active weight of a matrix product (the head's included; look-ups, gains and biases not), and
    attention's products over the (seq_len + 1)/2 tokens that a token sees on average. Raises `ConfigError` for an
    attention of one's own, whose products nobody knows.
    """
    _require_known(cfg, "operations per token")
    head = cfg.d_model * cfg.vocab_size
    multiplied = count_parameters(cfg).body_active - _vector_parameters(cfg) + head
    if isinstance(cfg, KimiConfig) and cfg.block_latent is not None:
        n_layers = cfg.n_layers - _kda_layers(cfg)
        multiplied += n_layers * _latent_multiplications(cfg.block_latent, cfg.d_model, seq_len)
    return 6 * multiplied + 3 * _attention_flops(cfg, seq_len)


def _require_known(cfg: ModelConfig, what: str) -> None:
    if isinstance(cfg, KimiConfig) and is_own(cfg.attention):
        raise ConfigError(
            f"{what}: no formula knows attention={cfg.attention}; parameters are counted all the same"
        )


def _vector_parameters(cfg: ModelConfig) -> int:
    """How many gains and biases there are: one operation per channel, which nobody counts."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(cfg).parameters() if p.ndim == 1)


def _latent_multiplications(cfg: BlockLatentConfig, d: int, seq_len: int) -> float:
    """What a layer of block latent attention, d wide, multiplies per token beyond one use of each of its weights.

    The latents' own query is made once per batch, which is nothing per token; their keys and values are projected
    like tokens; and the compression is an attention of its own, m queries over the tokens of closed blocks.
    """
    m = cfg.n_latents
    n_blocks = seq_len // cfg.block_len
    open_share = 1 - n_blocks * cfg.block_len / seq_len
    latent_query, latents = d * d, m * d
    return (
        2 * d * d * n_blocks * m / seq_len
        + 2 * m * d * (1 - open_share)
        - latent_query
        - latents
        - 2 * d * d * open_share
    )


def _attention_flops(cfg: ModelConfig, seq_len: int) -> float:
    """Forward operations per token of attention logits and weighted values, all layers.

    Kimi Delta Attention has three products with its state instead: what is recalled, corrected and read. The chunks of
    training compute the same with more operations.
    """
    qk_width = v_width = cfg.d_model
    visible = (seq_len + 1) / 2
    if isinstance(cfg, KimiConfig) and cfg.mla is not None:
        qk_width = cfg.n_heads * (cfg.mla.qk_nope_head_dim + cfg.mla.qk_rope_head_dim)
        v_width = cfg.n_heads * cfg.mla.v_head_dim
    elif isinstance(cfg, KimiConfig) and cfg.block_latent is not None:
        m, b = cfg.block_latent.n_latents, cfg.block_latent.block_len
        n_blocks, rest = divmod(seq_len, b)
        tokens = n_blocks * b * (b + 1) / 2 + rest * (rest + 1) / 2
        latents = m * (b * n_blocks * (n_blocks - 1) / 2 + rest * n_blocks)
        visible = (tokens + latents) / seq_len
    n_kda = _kda_layers(cfg)
    return (cfg.n_layers - n_kda) * 2 * visible * (qk_width + v_width) + n_kda * 6 * _state_elements(cfg)


def _kda_layers(cfg: ModelConfig) -> int:
    """How many layers keep a state instead of entries per token."""
    is_kimi = isinstance(cfg, KimiConfig)
    return sum(cfg.attention_of(layer) == "kda" for layer in range(cfg.n_layers)) if is_kimi else 0


def _state_elements(cfg: ModelConfig) -> int:
    """How many numbers the state of a layer of Kimi Delta Attention has."""
    kda = cfg.kda if isinstance(cfg, KimiConfig) else None
    return 0 if kda is None else cfg.n_heads * kda.head_dim**2


def cache_elements(cfg: ModelConfig, n_tokens: int) -> int:
    """How many numbers decoding keeps after `n_tokens` tokens, all layers. Landmark: K2 keeps 35,136 per token.

    Block latent attention keeps keys and values of its latents, and keys, values and inputs of the open block. Kimi
    Delta Attention keeps its state and the newest inputs of its convolution, as much after every token.

    Raises `ConfigError` for an attention of one's own.
    """
    _require_known(cfg, "numbers in the cache")
    n_kda = _kda_layers(cfg)
    kept, n_layers = 0, cfg.n_layers - n_kda
    if isinstance(cfg, KimiConfig) and cfg.kda is not None and n_tokens:
        inputs = (cfg.kda.conv_size - 1) * 3 * cfg.n_heads * cfg.kda.head_dim
        kept = n_kda * (_state_elements(cfg) + inputs)
    if isinstance(cfg, KimiConfig) and cfg.mla is not None:
        return kept + n_layers * n_tokens * (cfg.mla.kv_lora_rank + cfg.mla.qk_rope_head_dim)
    if isinstance(cfg, KimiConfig) and cfg.block_latent is not None:
        blocks, open_tokens = divmod(n_tokens, cfg.block_latent.block_len)
        latents = blocks * cfg.block_latent.n_latents
        return kept + n_layers * cfg.d_model * (2 * latents + 3 * open_tokens)
    return kept + n_layers * n_tokens * 2 * cfg.d_model
