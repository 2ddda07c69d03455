"""The KimiLinear format of `transformers`: Kimi Delta Attention beside latent attention without positions.

config.json names the attention of every layer, and the weights have names of their own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from nanokimi.attention_config import name_at, names_of
from nanokimi.config import KDAConfig, KimiConfig, MLAConfig, MoEConfig
from nanokimi.hub.words import HubError, Words, check_fixed
from nanokimi.router import scaling_factor
from nanokimi.system.printable import quote

_WORDS = Words(
    {
        "max_seq_len": "model_max_length",
        "n_routed_experts": "num_experts",
        "n_shared_experts": "num_shared_experts",
        "top_k": "num_experts_per_token",
        "norm_topk_prob": "moe_renormalize",
        "n_group": "num_expert_group",
        "head_dim": "linear_head_dim",
        "conv_size": "linear_conv_kernel_dim",
    },
    without={"first_k_dense_replace"},
)
_LAYERS = {"kda": "linear_attention", "mla": "full_attention"}
_OF_LAYER = {theirs: ours for ours, theirs in _LAYERS.items()}
# What the format leaves open and Kimi does not; a field that is missing has this value.
_FIXED = {"hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False}
# As the published file says them, whose model transformers builds without reading these.
_PUBLISHED = {"moe_router_activation_func": "sigmoid", "moe_layer_freq": 1, "mla_use_nope": True}
# In the published file these are in a section, which transformers prefers.
_IN_SECTION = {
    "head_dim": "linear_head_dim",
    "num_heads": "linear_num_heads",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}


def is_kimi_linear(cfg: KimiConfig) -> bool:
    """Whether a model goes into this format, not into the one of DeepseekV3."""
    names = names_of(cfg.attention)
    return set(names) <= {"kda", "mla"} and ("kda" in names or (cfg.mla is not None and cfg.mla.use_nope))


def to_kimi_linear(cfg: KimiConfig, end_of_text: int | None) -> dict[str, Any]:
    """The content of config.json; `HubError` for what the format cannot express."""
    mla, kda = cfg.mla or MLAConfig(use_nope=True), cfg.kda or KDAConfig()
    for name, value, allowed, what in (
        ("use_nope", mla.use_nope, True, "latent attention without positions"),
        ("mla.output_gate", mla.output_gate, "none", "latent attention without a gate"),
        ("decay", kda.decay, "softplus", "the decay softplus"),
        ("kda.output_gate", kda.output_gate, "low_rank", "a gate of low rank"),
    ):
        if value != allowed:
            raise HubError(f"{name}={value} cannot be exported: the KimiLinear format has {what} only")
    layers = range(cfg.n_layers)
    data = _FIXED | {
        "model_type": "kimi_linear",
        "architectures": ["KimiLinearForCausalLM"],
        # As in the DeepseekV3 format: grouped products refuse rows that are no multiple of 16 bytes.
        "experts_implementation": "eager",
        "num_key_value_heads": cfg.n_heads,
        "linear_num_heads": cfg.n_heads,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
        "layer_types": [_LAYERS[cfg.attention_of(layer)] for layer in layers],
        "mlp_layer_types": ["dense" if cfg.is_dense(layer) else "sparse" for layer in layers],
    }
    data |= _WORDS.write(cfg) | _WORDS.write(mla) | _WORDS.write(kda)
    if cfg.moe is None:
        return data
    return data | _WORDS.write(cfg.moe) | {"routed_scaling_factor": scaling_factor(cfg.moe)}


def from_kimi_linear(data: Mapping[str, Any]) -> KimiConfig:
    """The configuration that such a config.json describes, as transformers writes it or as it was published."""
    section = data.get("linear_attn_config") or {}
    if not isinstance(section, dict):
        raise HubError(f"config.json: linear_attn_config={quote(section)} must hold named values")
    data = {**data} | {_IN_SECTION[name]: value for name, value in section.items() if name in _IN_SECTION}
    heads = data.get("num_attention_heads")
    widths = {"num_key_value_heads": heads, "linear_num_heads": heads}
    check_fixed(data, _FIXED | _PUBLISHED | widths, set())
    model = _WORDS.read(data, KimiConfig)
    names = _read_names(data, section, model["n_layers"])
    first_dense = _read_first_dense(data, len(names))
    model |= {
        "first_k_dense_replace": first_dense,
        "attention": _find_pattern(names),
        "mla": _WORDS.read(data, MLAConfig) | {"use_nope": True} if "mla" in names else None,
        "kda": _WORDS.read(data, KDAConfig) if "kda" in names else None,
        "moe": None if first_dense == len(names) else _WORDS.read(data, MoEConfig),
    }
    return _WORDS.build(model)


def _read_first_dense(data: Mapping[str, Any], n_layers: int) -> Any:
    """How many first layers are dense."""
    first, types = data.get("first_k_dense_replace", 1), data.get("mlp_layer_types")
    if types is None:  # transformers compares every layer's number with it
        return min(max(first, 0), n_layers) if type(first) is int else first
    dense = types.count("dense") if isinstance(types, list) else 0
    if types != ["dense"] * dense + ["sparse"] * (n_layers - dense):
        raise HubError(
            "config.json: mlp_layer_types must be dense for the first layers and sparse for the rest"
        )
    return dense


def _read_names(data: Mapping[str, Any], section: Mapping[str, Any], n_layers: Any) -> list[str]:
    """Our name for the attention of every layer."""
    types = data.get("layer_types")
    if types is None:
        full, linear = section.get("full_attn_layers"), section.get("kda_layers")
        if not isinstance(full, list) or not isinstance(linear, list):
            raise HubError("config.json: layer_types is missing")
        if not all(type(layer) is int for layer in [*full, *linear]):
            raise HubError("config.json: linear_attn_config must hold lists of layers, which count from 1")
        found = {layer: "full_attention" for layer in full} | {layer: "linear_attention" for layer in linear}
        types = [found.get(layer + 1, "") for layer in range(len(full) + len(linear))]
    if (
        not isinstance(types, list)
        or not types
        or not all(isinstance(t, str) and t in _OF_LAYER for t in types)
    ):
        raise HubError("config.json: layer_types must be linear_attention or full_attention for every layer")
    if len(types) != n_layers:
        raise HubError(
            f"config.json: layer_types names {len(types)} layers, and num_hidden_layers={quote(n_layers)}"
        )
    return [_OF_LAYER[each] for each in types]


def _find_pattern(names: list[str]) -> tuple[str, ...]:
    """The shortest pattern that gives these names; they are one themselves."""
    n = len(names)
    patterns = (tuple([*names[:size], names[-1]]) for size in range(min(n, 64)))
    fits = (p for p in patterns if all(name_at(p, layer, n) == names[layer] for layer in range(n)))
    return next(fits, tuple(names))


def to_kimi_linear_names(names: Iterable[str]) -> list[str]:
    """The names of the DeepseekV3 format as this one has them; `conv_weight` is three, of queries, keys and values."""
    found = []
    for name in names:
        stem, _, last = name.rpartition(".")
        if last == "conv_weight":
            found += [f"{stem}.{part}_conv1d.weight" for part in "qkv"]
            continue
        if ".mlp.experts." in name:
            for ours, theirs in (("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")):
                name = name.replace(f".{ours}.", f".{theirs}.")
        of_mixture = any(part in name for part in (".mlp.experts.", ".mlp.gate.", ".mlp.shared_experts."))
        found.append(name.replace(".mlp.", ".block_sparse_moe.") if of_mixture else name)
    return found


def shape_in_file(name: str, part: Tensor) -> tuple[int, ...]:
    """The shape of a tensor of the model's under this name in a file."""
    if name.endswith("_conv1d.weight"):
        return (part.shape[0], 1, part.shape[-1])
    return (1, 1, part.numel(), 1) if name.endswith(".A_log") else tuple(part.shape)
