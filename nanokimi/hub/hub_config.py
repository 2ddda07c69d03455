"""A Kimi's configuration to and from the config.json of the DeepseekV3 format of `transformers`.

Where the format has another word for a setting, the two words stand side by side in the tables below, and nowhere else.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nanokimi.config import ConfigError, KimiConfig, MLAConfig, MoEConfig, YarnConfig
from nanokimi.presets.yaml_config import build
from nanokimi.router import scaling_factor
from nanokimi.system.checked import checked
from nanokimi.system.printable import OneLineError, quote

# Our word -> the format's; every other setting has one name in both.
_WORDS = {
    "max_seq_len": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "norm_eps": "rms_norm_eps",
    "top_k": "num_experts_per_tok",
    "original_max_seq_len": "original_max_position_embeddings",
}
# Sections, which the format does not have, and choices in which it has one option only.
_OURS_ALONE = {"kind", "rope", "attention", "mla", "block_latent", "own_attention", "moe", "scoring"}
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


class HubError(OneLineError):
    """What the format or this model cannot express, or a folder that does not hold it: one line."""


@checked
def to_hub_config(cfg: KimiConfig, end_of_text: int | None = None) -> dict[str, Any]:
    """The content of config.json. `end_of_text` is the id of <|endoftext|>, which begins and ends a document.

    A model without experts is written as one in which all layers belong to the dense first ones. A derived
    `routed_scaling_factor` is written as a number, since the format derives none. Raises `HubError` for what the format
    cannot express: another attention than MLA, another scoring than sigmoid, a single expert.
    """
    if cfg.attention != "mla":
        raise HubError(f"attention={cfg.attention} cannot be exported: the DeepseekV3 format has mla only")
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
    data |= _write(cfg) | _write(cfg.mla)
    if cfg.rope.yarn is not None:
        # m enters the logits as m², by mscale_all_dim; attention_factor would scale the rotations a second time.
        yarn = {"rope_type": "yarn", "mscale": cfg.rope.yarn.mscale_all_dim, "attention_factor": 1.0}
        data["rope_parameters"] |= yarn | _write(cfg.rope.yarn)
    if cfg.moe is None:
        return data | {"first_k_dense_replace": cfg.n_layers}
    if cfg.moe.scoring != "sigmoid":
        raise HubError(
            f"scoring={cfg.moe.scoring} cannot be exported: the DeepseekV3 format has sigmoid only"
        )
    if cfg.moe.n_routed_experts < 2:
        raise HubError(
            "n_routed_experts=1 cannot be exported: the DeepseekV3 format needs two experts or more per group"
        )
    return data | _write(cfg.moe) | {"routed_scaling_factor": scaling_factor(cfg.moe)}


@checked
def from_hub_config(data: Mapping[str, Any]) -> KimiConfig:
    """The configuration that the content of a config.json of `deepseek_v3` or `kimi_k2` describes.

    Raises `HubError` for a field that is missing, asks for what Kimi does not have, or has a value that no Kimi has.
    """
    if data.get("model_type") not in ("deepseek_v3", "kimi_k2"):
        raise HubError(
            f"config.json: model_type={quote(data.get('model_type'))} must be deepseek_v3 or kimi_k2"
        )
    model, mla = _read(data, KimiConfig), _read(data, MLAConfig)
    widths = {
        "num_key_value_heads": data.get("num_attention_heads"),
        "head_dim": data.get("qk_rope_head_dim"),
    }
    for name, value in (_FIXED | _OTHERS | widths).items():
        # JSON's null is a field that is left open, but where transformers takes it for a no.
        open_here = name not in data or (data[name] is None and name not in _NULL_IS_NO)
        if not open_here and data[name] != value:
            raise HubError(
                f"config.json: {name}={quote(data[name])} must be {quote(value)}: Kimi has nothing else"
            )
    first_dense, n_layers = model["first_k_dense_replace"], model["n_layers"]
    if type(first_dense) is type(n_layers) is int:
        # transformers compares every layer's number with it, so it may be any whole number.
        model["first_k_dense_replace"] = min(max(first_dense, 0), n_layers)
    dense_only = model["first_k_dense_replace"] == n_layers
    model |= {
        "rope": _read_rope(data),
        "mla": mla,
        "moe": None if dense_only else _read(data, MoEConfig),
    }
    try:
        cfg = build(KimiConfig, model, where="config.json")
    except ConfigError as error:
        # In the words of the file: rope.base is its rope_theta.
        words = _WORDS | {"base": "rope_theta"}
        ours = re.compile(r"(?:(?:moe|mla|rope|yarn)(?:\.|: ))*(\w+)=")
        raise HubError(ours.sub(lambda found: words.get(found[1], found[1]) + "=", str(error))) from None
    if cfg.moe is not None and cfg.moe.n_routed_experts < 2:
        raise HubError(
            "config.json: n_routed_experts=1 must be 2 or more: the DeepseekV3 format needs two experts per group"
        )
    return cfg


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
    return {"base": base, "yarn": _read(defaults | rope, YarnConfig)}


def _words(section: type) -> dict[str, str]:
    """Our name -> the format's name, for the settings of a section that the format has."""
    return {f.name: _WORDS.get(f.name, f.name) for f in fields(section) if f.name not in _OURS_ALONE}


def _write(section: Any) -> dict[str, Any]:
    return {theirs: getattr(section, ours) for ours, theirs in _words(type(section)).items()}


def _read(data: Mapping[str, Any], section: type) -> dict[str, Any]:
    for theirs in _words(section).values():
        if theirs not in data:
            raise HubError(f"config.json: {theirs} is missing")
    return {ours: data[theirs] for ours, theirs in _words(section).items()}
