"""The KV-cache meter: the bytes that decoding keeps, measured while a model generates, and by the formula."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from nanokimi.config import BlockLatentConfig, KimiConfig, MLAConfig
from nanokimi.count import cache_elements
from nanokimi.kimi import Kimi


@dataclass(frozen=True)
class CacheCurve:
    """One attention's cache over the tokens of one sequence; bytes of all layers together."""

    name: str
    n_tokens: tuple[int, ...]
    measured: tuple[int, ...]
    formula: tuple[int, ...]


def vary_attention(cfg: KimiConfig) -> dict[str, KimiConfig]:
    """The model with ordinary heads, latent attention and block latents; as it is too, where it has KDA."""
    bare = replace(cfg, attention="mha", mla=None, block_latent=None, kda=None, own_attention=None)
    block_len = max(1, min(32, cfg.max_seq_len // 4))
    return {
        "MHA": bare,
        "MLA": replace(bare, attention="mla", mla=cfg.mla or MLAConfig()),
        "BlockLatent": replace(
            bare,
            attention="block_latent",
            block_latent=cfg.block_latent or BlockLatentConfig(n_latents=4, block_len=block_len),
        ),
        **({} if cfg.kda is None else {"with KDA": cfg}),
    }


@torch.inference_mode()
def measure_cache(name: str, cfg: KimiConfig, n_tokens: int, seed: int = 0) -> CacheCurve:
    """Generate `n_tokens` greedily, one at a time, and read the cache after each.

    The size of a cache does not depend on the weights, so the model is an untrained one.
    """
    if not 1 <= n_tokens <= cfg.max_seq_len:
        raise ValueError(f"n_tokens={n_tokens} must lie in 1..max_seq_len={cfg.max_seq_len}")
    model = Kimi(cfg, seed)
    element = model.lm_head.weight.element_size()
    cache, token, measured = model.new_cache(), torch.zeros(1, 1, dtype=torch.long), []
    for _ in range(n_tokens):
        token = model(token, cache).logits[:, -1:].argmax(dim=-1)
        measured.append(sum(layer.nbytes for layer in cache))
    counts = tuple(range(1, n_tokens + 1))
    formula = tuple(cache_elements(cfg, n) * element for n in counts)
    return CacheCurve(name, counts, tuple(measured), formula)


def measure_all(cfg: KimiConfig, n_tokens: int) -> list[CacheCurve]:
    """The meter for all kinds of attention."""
    return [measure_cache(name, variant, n_tokens) for name, variant in vary_attention(cfg).items()]
