"""The settings of attention: how positions turn queries and keys, and the widths of each kind of attention.

`config` gives these names out, so that `from nanokimi.config import MLAConfig` is the one way to them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic import model_validator as validator

from nanokimi.system.checked import settings
from nanokimi.system.real_numbers import AboveOne, Number, Turns
from nanokimi.system.refusals import require
from nanokimi.system.whole_numbers import Length, Size


@settings
class YarnConfig:
    """YaRN: stretch a context of `original_max_seq_len` tokens by `factor` (Peng et al. 2023)."""

    factor: AboveOne = 32.0
    original_max_seq_len: Length = 4096
    beta_fast: Turns = 1.0
    beta_slow: Turns = 1.0
    mscale_all_dim: Annotated[Number, Field(ge=-100, le=100)] = 1.0

    @validator(mode="after")
    def _check(self):
        fast, slow = self.beta_fast, self.beta_slow
        require(fast >= slow, f"beta_fast={fast} must be at least beta_slow={slow}")
        return self


@settings
class RopeConfig:
    """Rotary embedding: pair i of r/2 is turned by base^(-2i/r) radians per token (Su et al. 2021)."""

    base: AboveOne = 10_000.0
    yarn: YarnConfig | None = None


@settings
class MLAConfig:
    """Multi-head latent attention: how wide a head is, and how narrow the cached latent is (DeepSeek-V2)."""

    q_lora_rank: Size | None = None  # None: queries are made in one step, not through a latent
    kv_lora_rank: Size = 64
    qk_nope_head_dim: Size = 16
    qk_rope_head_dim: Annotated[Size, Field(multiple_of=2)] = 16  # turned in pairs
    v_head_dim: Size = 32


@settings
class BlockLatentConfig:
    """Block latent attention: `n_latents` vectors stand for every complete block of `block_len` tokens."""

    n_latents: Size = 4
    block_len: Size = 32
