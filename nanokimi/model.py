"""From a configuration to the model that it describes."""

from dataclasses import replace

import torch

from nanokimi.block_latent import BlockLatentAttention
from nanokimi.config import ConfigError, GPTConfig, KimiConfig, ModelConfig
from nanokimi.gpt import GPT
from nanokimi.kimi import Kimi
from nanokimi.own.table import is_own
from nanokimi.system.checked import checked
from nanokimi.system.memory import memory_limit
from nanokimi.system.whole_numbers import Seed

Model = GPT | Kimi


@checked
def build_model(cfg: ModelConfig, seed: Seed = 0) -> Model:
    """The model that `cfg` describes, a GPT or a Kimi, on the CPU, with weights drawn from `seed`.

    Under `torch.device("meta")` it has shapes only and takes no memory, whatever its size. Raises `ConfigError` where
    the weights need more memory than this process may use.

    >>> from nanokimi import build_model, load_model_config
    >>> model = build_model(load_model_config("kimi-smoke"), seed=1)
    >>> sum(p.numel() for p in model.parameters())
    75328
    """
    n_bytes, limit = 4 * _count_weights(cfg), memory_limit()
    if limit is not None and n_bytes > limit and torch.get_default_device().type != "meta":
        sizes = f"take {n_bytes / 1e9:,.1f} GB and this process may use {limit / 1e9:,.1f} GB"
        raise ConfigError(f"this model's weights {sizes}: lower d_model, n_layers or the number of experts")
    return GPT(cfg, seed) if isinstance(cfg, GPTConfig) else Kimi(cfg, seed)


def takes_padding(model: Model) -> bool:
    """Whether texts of different lengths can stand side by side in the model's caches (`cache.PaddedCache`).

    Blocks of latents begin at fixed places of a text, and an attention of one's own need know nothing of padding.
    """
    if isinstance(model.cfg, KimiConfig) and is_own(model.cfg.attention):
        return False
    return not any(isinstance(layer, BlockLatentAttention) for layer in model.modules())


def attentions(model: Model) -> list[str]:
    """The name of every layer's attention, as `cache.new_layer_cache` takes it; a GPT's is mha."""
    cfg = model.cfg
    return [cfg.attention_of(i) if isinstance(cfg, KimiConfig) else "mha" for i in range(cfg.n_layers)]


def _count_weights(cfg: ModelConfig) -> int:
    """The number of weights, counted on one layer of each kind: a thousand of them take seconds even without memory."""
    with torch.device("meta"):
        if isinstance(cfg, GPTConfig):
            kinds = [(GPT(replace(cfg, n_layers=1)), cfg.n_layers)]
        else:
            kinds = [(Kimi(cfg.only(layer)), len(alike)) for layer, alike in cfg.alike().items()]
    some = kinds[0][0]
    return _size(some) - _size(some.layers) + sum(n * _size(model.layers) for model, n in kinds)


def _size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
