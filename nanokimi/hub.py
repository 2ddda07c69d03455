"""To and from the DeepseekV3 format of `transformers`, which Kimi K2 is published in.

A folder holds config.json, model.safetensors and, when written here, a tokenizer. Where the format has another
word for a thing, the two words stand side by side in the tables below and nowhere else. `transformers` itself is
not needed: the format is JSON and safetensors.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tiktoken
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanokimi.config import KimiConfig, MLAConfig, MoEConfig, YarnConfig
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.router import scaling_factor
from nanokimi.text.tokenizer import END_OF_TEXT, to_transformers
from nanokimi.yaml_config import build

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
_OURS_ALONE = {"kind", "rope", "attention", "mla", "block_latent", "moe", "scoring"}
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
# The end of a weight's name: ours -> the format's.
_WEIGHTS = {
    ".kv_a_proj.weight": ".kv_a_proj_with_mqa.weight",
    ".mlp.gate": ".mlp.gate.weight",
    ".mlp.expert_bias": ".mlp.gate.e_score_correction_bias",
}


class HubError(ValueError):
    """What this format or this model cannot express, or a folder that does not hold it: one line."""


# ---------------------------------------------------------------- configuration


def to_hub_config(cfg: KimiConfig, end_of_text: int | None = None) -> dict[str, Any]:
    """The content of config.json. `end_of_text` is the id of <|endoftext|>, which begins and ends a document.

    A model without experts is written as one whose every layer is among the dense first ones. The derived
    `routed_scaling_factor` is written as a number, since the format has none to derive.
    """
    if cfg.attention != "mla":
        raise HubError(f"attention={cfg.attention} cannot be exported: the DeepseekV3 format has mla only")
    data = _FIXED | {
        # Never kimi_k2: transformers has no such model and would leave the experts at random.
        "model_type": "deepseek_v3",
        "architectures": ["DeepseekV3ForCausalLM"],
        "num_key_value_heads": cfg.n_heads,
        "num_nextn_predict_layers": 0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "rope_parameters": {"rope_type": "default", "rope_theta": cfg.rope.base},
    }
    data |= _written(cfg) | _written(cfg.mla)
    if cfg.rope.yarn is not None:
        # m enters the logits as m², by mscale_all_dim; attention_factor would scale the rotations a second time.
        yarn = {"rope_type": "yarn", "mscale": cfg.rope.yarn.mscale_all_dim, "attention_factor": 1.0}
        data["rope_parameters"] |= yarn | _written(cfg.rope.yarn)
    if cfg.moe is None:
        return data | {"first_k_dense_replace": cfg.n_layers}
    if cfg.moe.scoring != "sigmoid":
        raise HubError(
            f"scoring={cfg.moe.scoring} cannot be exported: the DeepseekV3 format has sigmoid only"
        )
    for name, least in (("n_routed_experts", 2), ("n_shared_experts", 1)):
        if getattr(cfg.moe, name) < least:
            raise HubError(
                f"{name}={getattr(cfg.moe, name)} cannot be exported: the DeepseekV3 format needs {least} or more"
            )
    return data | _written(cfg.moe) | {"routed_scaling_factor": scaling_factor(cfg.moe)}


def from_hub_config(data: Mapping[str, Any]) -> KimiConfig:
    """The configuration that a config.json of `deepseek_v3` or `kimi_k2` describes."""
    if data.get("model_type") not in ("deepseek_v3", "kimi_k2"):
        raise HubError(f"config.json: model_type={data.get('model_type')!r} must be deepseek_v3 or kimi_k2")
    heads = {"num_key_value_heads": data.get("num_attention_heads")}
    for name, value in (_FIXED | heads).items():
        # JSON's null is a field that is left open.
        if data.get(name) not in (None, value):
            raise HubError(f"config.json: {name}={data[name]!r} must be {value!r}: Kimi has nothing else")
    model = _read(data, KimiConfig)
    dense_only = model["first_k_dense_replace"] >= model["n_layers"]
    model |= {
        "rope": _read_rope(data),
        "mla": _read(data, MLAConfig),
        "moe": None if dense_only else _read(data, MoEConfig),
    }
    return build(KimiConfig, model, where="config.json")


def _read_rope(data: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings, as transformers 5 writes them (`rope_parameters`) or as K2 was published (`rope_scaling`)."""
    rope = data.get("rope_parameters") or data.get("rope_scaling") or {}
    rope = {name: value for name, value in rope.items() if value is not None}
    base = rope.get("rope_theta", data.get("rope_theta"))
    if base is None:
        raise HubError("config.json: rope_theta is missing")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "yarn"):
        raise HubError(f"config.json: rope_type={kind!r} must be default or yarn")
    if kind == "default":
        return {"base": base}
    mscale, mscale_all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
    # transformers derives the missing attention_factor: 1 for equal mscales, another number for missing ones.
    keeps_length = bool(mscale) and mscale == mscale_all_dim
    if rope.get("attention_factor", 1.0 if keeps_length else None) != 1.0:
        raise HubError(
            f"config.json: mscale={mscale} must equal mscale_all_dim={mscale_all_dim}, and attention_factor be "
            "1 or missing: Kimi's rotations keep lengths"
        )
    if not rope.get("truncate", True):
        raise HubError("config.json: truncate=False must be True: Kimi's YaRN ramp runs between whole pairs")
    defaults = {
        "original_max_position_embeddings": data.get("max_position_embeddings"),
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale_all_dim": 0.0,
    }
    return {"base": base, "yarn": _read(defaults | rope, YarnConfig)}


def _words(section: type) -> dict[str, str]:
    return {f.name: _WORDS.get(f.name, f.name) for f in fields(section) if f.name not in _OURS_ALONE}


def _written(section: Any) -> dict[str, Any]:
    return {theirs: getattr(section, ours) for ours, theirs in _words(type(section)).items()}


def _read(data: Mapping[str, Any], section: type) -> dict[str, Any]:
    for theirs in _words(section).values():
        if theirs not in data:
            raise HubError(f"config.json: {theirs} is missing")
    return {ours: data[theirs] for ours, theirs in _words(section).items()}


# ---------------------------------------------------------------- weights


def hub_names(name: str, tensor: Tensor) -> list[str]:
    """The format's names of one tensor of ours, which holds their tensors one after the other.

    A bank's gate_up_proj (E, 2I, D) is experts.0.gate_proj, experts.0.up_proj, experts.1.gate_proj ... there,
    E·2 matrices (I, D); most tensors are one here and there.
    """
    name = name if name.startswith("lm_head.") else f"model.{name}"
    for ours, theirs in _WEIGHTS.items():
        if name.endswith(ours):
            return [name.removesuffix(ours) + theirs]
    stem, _, last = name.rpartition(".")
    stems = [f"{stem}.{e}" for e in range(tensor.shape[0])] if stem.endswith(".experts") else [stem]
    if last == "gate_up_proj":
        return [f"{s}.{part}.weight" for s in stems for part in ("gate_proj", "up_proj")]
    if last == "down_proj":
        return [f"{s}.down_proj.weight" for s in stems]
    return [name]


def _cut(tensor: Tensor, n_parts: int) -> tuple[Tensor, ...]:
    """The `n_parts` equal matrices that lie one after the other in `tensor`."""
    return (tensor,) if n_parts == 1 else tensor.reshape(n_parts, -1, tensor.shape[-1]).unbind()


def to_hub_weights(model: Kimi) -> dict[str, Tensor]:
    """Every weight under the names that `save_pretrained` writes, the experts one by one; views, no copies."""
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(".expert_bias"):
            tensor = tensor.float()  # rounding to bfloat16 would undo the updates of 1e-3 that made it
        names = hub_names(name, tensor)
        weights |= dict(zip(names, _cut(tensor, len(names)), strict=True))
    return weights


def from_hub_weights(weights: Mapping[str, Tensor], cfg: KimiConfig) -> dict[str, Tensor]:
    """A state dict for `Kimi(cfg)`, from per-expert keys or from whole banks (`experts.gate_up_proj`).

    Layers past the last (DeepSeek-V3's extra prediction layer) and stored rotations are left out.
    """
    with torch.device("meta"):
        expected = Kimi(cfg).state_dict()
    layers = tuple(f"model.layers.{i}." for i in range(cfg.n_layers))
    left = {
        name: tensor
        for name, tensor in weights.items()
        if not name.endswith("rotary_emb.inv_freq")
        and (not name.startswith("model.layers.") or name.startswith(layers))
    }
    state = {}
    for name, like in expected.items():
        names = hub_names(name, like)
        if f"model.{name}" in left:  # a bank as transformers holds it in memory
            names = [f"model.{name}"]
        missing = [hub for hub in names if hub not in left]
        if missing:
            raise HubError(f"weights: {missing[0]} is missing")
        parts = [left.pop(hub) for hub in names]
        for hub, part, wanted in zip(names, parts, _cut(like, len(names)), strict=True):
            if part.shape != wanted.shape:
                raise HubError(
                    f"weights: {hub} has shape {tuple(part.shape)}, config.json asks for {tuple(wanted.shape)}"
                )
        state[name] = torch.cat(parts).view(like.shape)
    if left:
        raise HubError(f"weights: {min(left)} has no place in the model of config.json")
    return state


# ---------------------------------------------------------------- folders


def save_pretrained(model: Model, encoding: tiktoken.Encoding, folder: str | Path) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load; it appears whole or not at all."""
    folder = Path(folder)
    if not isinstance(model, Kimi):
        raise HubError("a GPT cannot be exported: the DeepseekV3 format has Kimi's model only")
    if encoding.n_vocab > model.cfg.vocab_size:
        raise HubError(
            f"vocab_size={model.cfg.vocab_size} is less than the tokenizer's {encoding.n_vocab} tokens"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HubError(f"{folder} exists and is not an empty folder: name a new one")
    end_of_text = encoding.encode_single_token(END_OF_TEXT)
    config = to_hub_config(model.cfg, end_of_text) | {"dtype": str(model.lm_head.weight.dtype).split(".")[-1]}
    about_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "model_max_length": model.cfg.max_seq_len,
        "clean_up_tokenization_spaces": False,
    }
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=".writing-") as temporary:
        whole = Path(temporary) / "export"
        whole.mkdir()
        _write_json(whole / "config.json", config)
        weights = {name: t.cpu().contiguous() for name, t in to_hub_weights(model).items()}
        save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
        to_transformers(encoding).save(str(whole / "tokenizer.json"))
        _write_json(whole / "tokenizer_config.json", about_tokenizer)
        os.replace(whole, folder)


def from_pretrained(folder: str | Path) -> Kimi:
    """The model in a folder that `save_pretrained` or transformers' `save_pretrained` wrote, in float32."""
    folder = Path(folder)
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        cfg = from_hub_config(data)
        if data.get("quantization_config"):
            raise HubError(
                "config.json: quantization_config must be missing: the weights have to be plain numbers"
            )
        weights = {k: t for file in _weight_files(folder) for k, t in load_file(file).items()}
        model = Kimi(cfg)
        model.load_state_dict(from_hub_weights(weights, cfg))
    except HubError as error:
        raise HubError(f"{folder}: {error}") from None
    except FileNotFoundError:
        raise HubError(f"{folder}: config.json is missing") from None
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        SafetensorError,
        AttributeError,
        KeyError,
        TypeError,
    ) as error:
        # The latter three: JSON of another shape than a configuration's.
        raise HubError(f"{folder} is damaged: {' '.join(str(error).split())}") from None
    return model


def _weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the parts that its index names."""
    names, index = ["model.safetensors"], folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    for name in names:
        if not (folder / name).is_file():
            raise HubError(f"{name} is missing")
    return [folder / name for name in names]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
