"""The settings of attention: how positions turn queries and keys, and the widths of each kind of attention.

`config` gives these names out, so that `from nanokimi.config import MLAConfig` is the one way to them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict
from pydantic import model_validator as validator

from nanokimi.own.table import BUILT_IN
from nanokimi.system.checked import settings
from nanokimi.system.printable import quote
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
    """Multi-head latent attention: how wide a head is, and how narrow the cached latent is (DeepSeek-V2).

    use_nope: no position is known: the "rope" key stays one shared head, but nothing is turned (Kimi Linear).
    output_gate: "full_rank" multiplies the heads by a sigmoid of the layer's input (Kimi K3).
    """

    q_lora_rank: Size | None = None  # None: queries are made in one step, not through a latent
    kv_lora_rank: Size = 64
    qk_nope_head_dim: Size = 16
    qk_rope_head_dim: Annotated[Size, Field(multiple_of=2)] = 16  # turned in pairs
    v_head_dim: Size = 32
    use_nope: Annotated[bool, Strict()] = False
    output_gate: Literal["none", "full_rank"] = "none"


@settings
class KDAConfig:
    """Kimi Delta Attention: `n_heads` matrices of head_dim x head_dim instead of a growing cache (Kimi Linear).

    head_dim: of queries, keys and values; also the rank of what makes the decay. conv_size: taps of the convolution.
    decay: "softplus" forgets without a bound (Kimi Linear), "bounded" keeps at least e^-5 per step (Kimi K3).
    output_gate: through a rank of head_dim (Kimi Linear), or "full_rank" (Kimi K3).
    """

    head_dim: Size = 32
    conv_size: Size = 4
    decay: Literal["softplus", "bounded"] = "softplus"
    output_gate: Literal["low_rank", "full_rank"] = "low_rank"


@settings
class BlockLatentConfig:
    """Block latent attention: `n_latents` vectors stand for every complete block of `block_len` tokens."""

    n_latents: Size = 4
    block_len: Size = 32


OTHERS = tuple(name for name in BUILT_IN if name != "kda")


def _as_names(value: Any) -> Any:
    """A text as it is, a list of texts as a tuple; pydantic would say of each what it is not."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError("must be a name, or a list of names")
    return value


# One attention for all layers, or a pattern of names that is repeated over them.
Attention = Annotated[str | tuple[str, ...], BeforeValidator(_as_names)]


def names_of(attention: Attention) -> tuple[str, ...]:
    """The names in a pattern; a single name is a pattern of one."""
    return (attention,) if isinstance(attention, str) else attention


def tell(attention: Attention) -> str:
    """The setting as a person writes it: attention=mla, attention=[kda, mla]."""
    return f"attention={attention if isinstance(attention, str) else '[' + ', '.join(attention) + ']'}"


def fit_pattern(attention: Attention, n_layers: int) -> Attention:
    """The pattern, or the name where it has one only; `ConfigError` for one that no model of `n_layers` layers has."""
    names = dict.fromkeys(names_of(attention))
    told = f"attention=[{', '.join(map(quote, names))}]"
    require(
        bool(names), f"{told} is empty: name an attention, or several, which are repeated over the layers"
    )
    if len(names) == 1:
        return next(iter(names))
    # One kind with a growing cache: all that grows is then counted, turned and clipped alike.
    require("kda" in names and len(names) == 2, f"{told}: a pattern has 'kda' and one other attention")
    (other,) = names.keys() - {"kda"}
    require(
        other in BUILT_IN,
        f"{told}: beside 'kda' stands one of the lab's own, {' or '.join(map(quote, OTHERS))}",
    )
    used = {name_at(attention, layer, n_layers) for layer in range(n_layers)}
    idle = next((name for name in names if name not in used), "")
    require(not idle, f"{told}: with n_layers={n_layers} no layer is {quote(idle)}")
    return attention


def name_at(attention: Attention, layer: int, n_layers: int) -> str:
    """The attention of layer `layer`, from 0: the pattern repeated, but the last layer has the pattern's last."""
    names = names_of(attention)
    return names[-1] if layer == n_layers - 1 else names[layer % len(names)]


# What models had none of for a long time. Where they still have none it is not written: records of models are compared
# by what is written.
_LATER = (
    ("own_attention", None),
    ("kda", None),
    ("use_nope", False),
    ("output_gate", "none"),
    ("method", "sign"),
)


def leave_out_later(data: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a model, or of its section mla, without what it does not use of the newer settings."""
    return {name: value for name, value in data.items() if (name, value) not in _LATER}
