"""Folders in the DeepseekV3 format: written for `transformers` to load, and read.

A folder holds config.json (see `hub_config`), model.safetensors and, when written here, a tokenizer.
"""

import json
from pathlib import Path

import tiktoken
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanokimi.hub.hub_config import HubError, from_hub_config, to_hub_config
from nanokimi.hub.weights import from_hub_weights, to_hub_weights
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.system.atomic import new_folder, write_json
from nanokimi.text.tokenizer import END_OF_TEXT, to_transformers


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
