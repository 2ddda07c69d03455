"""A Kimi's configuration to and from config.json: the DeepseekV3 format of `transformers`, or that of Kimi Linear.

Where a format has another word for a setting, the two words stand side by side in the tables of `words` and
`kimi_linear`, and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

from nanokimi.attention_config import tell
from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, YarnConfig
from nanokimi.hub.kimi_linear import from_kimi_linear, is_kimi_linear, to_kimi_linear
from nanokimi.hub.words import HubError as HubError
from nanokimi.hub.words import Words, check_experts, check_fixed
from nanokimi.router import scaling_factor
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote

# What the format leaves open and Kimi does not; a field that is missing has this value.
_FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "tie_word_embeddings": False,
    "rope_interleave": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "moe_layer_freq": 1,
}
# What transformers reads besides, and would compute something else for.
_OTHERS = {"partial_rotary_factor": 1.0, "is_causal": True, "per_layer_config": None}
_NULL_IS_NO = {"rope_interleave", "is_causal"}

_DEEPSEEK = Words()


@checked
def to_hub_config(cfg: KimiConfig, end_of_text: int | None = None) -> dict[str, Any]:
    """The content of config.json. `end_of_text` is the id of <|endoftext|>, which begins and ends a document.

    A model without experts is written as one in which all layers belong to the dense first ones. A derived
    `routed_scaling_factor` is written as a number, since the format derives none. Kimi Delta Attention, and latent
    attention without positions, go into the KimiLinear format (`kimi_linear`). Raises `HubError` for what a format
    cannot express: another attention, another scoring than sigmoid, a single expert.
    """
    check_experts(cfg, "KimiLinear" if is_kimi_linear(cfg) else "DeepseekV3")
    if is_kimi_linear(cfg):
        return to_kimi_linear(cfg, end_of_text)
    if cfg.mla is None:
        raise HubError(f"{tell(cfg.attention)} cannot be exported: the formats have mla and kda only")
    if cfg.mla.output_gate != "none":
        raise HubError(f"output_gate={cfg.mla.output_gate} cannot be exported: no format has it")
    data = _FIXED | {
        # Never kimi_k2: transformers has no such model and would leave the experts at random.
        "model_type": "deepseek_v3",
        "architectures": ["DeepseekV3ForCausalLM"],
        # transformers' own choice, grouped products, refuses rows that are no multiple of 16 bytes (122 numbers).
        "experts_implementation": "eager",
        "num_key_value_heads": cfg.n_heads,
        "num_nextn_predict_layers": 0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "rope_parameters": {"rope_type": "default", "rope_theta": cfg.rope.base},
    }
    data |= _DEEPSEEK.write(cfg) | _DEEPSEEK.write(cfg.mla)
    if cfg.rope.yarn is not None:
        # m enters the logits as m², by mscale_all_dim; attention_factor would scale the rotations a second time.
        yarn = {"rope_type": "yarn", "mscale": cfg.rope.yarn.mscale_all_dim, "attention_factor": 1.0}
        data["rope_parameters"] |= yarn | _DEEPSEEK.write(cfg.rope.yarn)
    if cfg.moe is None:
        return data | {"first_k_dense_replace": cfg.n_layers}
    return data | _DEEPSEEK.write(cfg.moe) | {"routed_scaling_factor": scaling_factor(cfg.moe)}


@checked
def from_hub_config(data: Mapping[str, Any]) -> KimiConfig:
    """The configuration that the content of a config.json of `deepseek_v3`, `kimi_k2` or `kimi_linear` describes.

    Raises `HubError` for a field that is missing, asks for what Kimi does not have, or has a value that no Kimi has.
    """
    kind = data.get("model_type")
    if kind == "kimi_linear":
        return from_kimi_linear(data)
    if kind not in ("deepseek_v3", "kimi_k2"):
        raise HubError(f"config.json: model_type={quote(kind)} must be deepseek_v3, kimi_k2 or kimi_linear")
    model, mla = _DEEPSEEK.read(data, KimiConfig), _DEEPSEEK.read(data, MLAConfig)
    widths = {
        "num_key_value_heads": data.get("num_attention_heads"),
        "head_dim": data.get("qk_rope_head_dim"),
    }
    check_fixed(data, _FIXED | _OTHERS | widths, _NULL_IS_NO)
    first_dense, n_layers = model["first_k_dense_replace"], model["n_layers"]
    if type(first_dense) is type(n_layers) is int:
        # transformers compares every layer's number with it, so it may be any whole number.
        model["first_k_dense_replace"] = min(max(first_dense, 0), n_layers)
    dense_only = model["first_k_dense_replace"] == n_layers
    model |= {
        "rope": _read_rope(data),
        "mla": mla,
        "moe": None if dense_only else _DEEPSEEK.read(data, MoEConfig),
    }
    return _DEEPSEEK.build(model)


def _read_rope(data: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings, as transformers 5 writes them (`rope_parameters`) or as K2 was published (`rope_scaling`)."""
    # Where both are there, transformers reads the older one.
    rope = data.get("rope_scaling") or data.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise HubError(f"config.json: rope_parameters={quote(rope)} must hold named values")
    truncate = rope.get("truncate", True)
    rope = {name: value for name, value in rope.items() if value is not None}
    base = rope.get("rope_theta", data.get("rope_theta"))
    if base is None:
        both = data.get("rope_scaling") and data.get("rope_parameters")
        where = " in rope_scaling, which counts before rope_parameters" if both else ""
        raise HubError(f"config.json: rope_theta is missing{where}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "yarn"):
        raise HubError(f"config.json: rope_type={quote(kind)} must be default or yarn")
    if kind == "default":
        return {"base": base}
    mscale, mscale_all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
    # transformers derives the missing attention_factor: 1 for equal mscales, another number for missing ones.
    keeps_length = bool(mscale) and mscale == mscale_all_dim
    if rope.get("attention_factor", 1.0 if keeps_length else None) != 1.0:
        raise HubError(
            f"config.json: mscale={quote(mscale)} and mscale_all_dim={quote(mscale_all_dim)} must be equal numbers, "
            "or attention_factor be 1: Kimi's rotations keep lengths"
        )
    if truncate is not True:  # null is a no to transformers
        raise HubError(
            f"config.json: truncate={quote(truncate)} must be True: Kimi's YaRN ramp runs between whole pairs"
        )
    for name, value in (
        ("partial_rotary_factor", 1.0),
        ("original_max_position_embeddings", data.get("original_max_position_embeddings")),
    ):
        # The second may stand beside the section too, where transformers prefers it and DeepSeek's code ignores it.
        if value is not None and rope.get(name, value) != value:
            raise HubError(f"config.json: {name}={quote(rope[name])} must be {quote(value)}")
    defaults = {
        "original_max_position_embeddings": data.get(
            "original_max_position_embeddings", data.get("max_position_embeddings")
        ),
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale_all_dim": 0.0,
    }
    return {"base": base, "yarn": _DEEPSEEK.read(defaults | rope, YarnConfig)}
