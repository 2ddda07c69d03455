"""To and from the DeepseekV3 format of `transformers`, in which Kimi K2 is published.

A folder holds config.json (see `hub_config`), model.safetensors and, when written here, a tokenizer. `transformers`
itself is not needed: the format is JSON and safetensors.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import tiktoken
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanokimi.atomic import new_folder, write_json
from nanokimi.config import KimiConfig
from nanokimi.hub_config import HubError, from_hub_config, to_hub_config
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.text.tokenizer import END_OF_TEXT, to_transformers

# The end of a weight's name: ours -> the format's.
_WEIGHTS = {
    ".kv_a_proj.weight": ".kv_a_proj_with_mqa.weight",
    ".mlp.gate": ".mlp.gate.weight",
    ".mlp.expert_bias": ".mlp.gate.e_score_correction_bias",
}


# ---------------------------------------------------------------- weights


def hub_names(name: str, tensor: Tensor) -> list[str]:
    """The format's names for one of our tensors, whose parts, one after the other, are the tensors of the format.

    The gate_up_proj (E, 2I, D) of a bank is E·2 matrices (I, D) in the format: experts.0.gate_proj, experts.0.up_proj,
    experts.1.gate_proj and so on. Most tensors are one tensor in both.
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
    """Every weight under the name that `save_pretrained` writes, the experts one by one; views where possible."""
    weights = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(".expert_bias"):
            tensor = tensor.float()  # rounding to bfloat16 would undo the updates of 1e-3 that made it
        names = hub_names(name, tensor)
        weights |= dict(zip(names, _cut(tensor, len(names)), strict=True))
    return weights


def from_hub_weights(weights: Mapping[str, Tensor], cfg: KimiConfig) -> dict[str, Tensor]:
    """A state dict for `Kimi(cfg)`, from weights per expert or from whole banks (`experts.gate_up_proj`).

    Layers past the last one (DeepSeek-V3's extra prediction layer) and stored rotations are left out. Raises `HubError`
    for a weight that is missing, that has another shape, or that the model has no place for.
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
        for hub, part, expected_part in zip(names, parts, _cut(like, len(names)), strict=True):
            if part.shape != expected_part.shape:
                raise HubError(
                    f"weights: {hub} has shape {tuple(part.shape)}, config.json asks for {tuple(expected_part.shape)}"
                )
        state[name] = torch.cat(parts).view(like.shape)
    if left:
        raise HubError(f"weights: {min(left)} has no place in the model of config.json")
    return state


# ---------------------------------------------------------------- folders


def save_pretrained(model: Model, encoding: tiktoken.Encoding, folder: str | Path) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load; it appears whole or not at all.

    `folder` must not exist, or be empty. Raises `HubError` where it is full, for a GPT, for a Kimi that the format
    cannot express, and for a tokenizer with more tokens than the model.
    """
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
    with new_folder(folder.absolute()) as unfinished:
        write_json(unfinished / "config.json", config)
        weights = {name: t.cpu().contiguous() for name, t in to_hub_weights(model).items()}
        save_file(weights, unfinished / "model.safetensors", metadata={"format": "pt"})
        to_transformers(encoding).save(str(unfinished / "tokenizer.json"))
        write_json(unfinished / "tokenizer_config.json", about_tokenizer)


def from_pretrained(folder: str | Path) -> Kimi:
    """The model in a folder that `save_pretrained` or transformers' `save_pretrained` wrote, in float32 on the CPU.

    Raises `HubError` where a file is missing or damaged, and where Kimi cannot be what config.json describes.
    """
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
        # The last three: JSON of another shape than a configuration has.
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
