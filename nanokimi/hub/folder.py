"""Folders in the DeepseekV3 format: written for `transformers` to load, and read.

A folder holds config.json (see `hub_config`), model.safetensors and, when written here, a tokenizer. A folder that is
read may come from anybody: what config.json claims is compared with what the weights' files say they hold before a
model is built.
"""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tiktoken
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nanokimi.hub.hub_config import HubError, from_hub_config, to_hub_config
from nanokimi.hub.weights import plan_weights, to_hub_weights
from nanokimi.kimi import Kimi
from nanokimi.model import Model
from nanokimi.system.atomic import new_folder, write_json, write_text
from nanokimi.system.checked import checked
from nanokimi.system.finite import check_held, name_first
from nanokimi.system.memory import memory_limit
from nanokimi.system.paths import AnyPath
from nanokimi.system.printable import one_line, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text.tokenizer import END_OF_TEXT, to_transformers

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
# How large the files may be: K2's index, of 140 thousand names, has 15 MB.
_LARGEST_CONFIG, _LARGEST_INDEX = 1_000_000, 100_000_000
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)  # owner and name
_FORMATS = ("F64", "F32", "F16", "BF16")


@checked
def save_pretrained(model: Model, encoding: tiktoken.Encoding, folder: AnyPath) -> None:
    """Write a folder that `AutoModelForCausalLM` and `AutoTokenizer` load; it appears whole or not at all.

    `folder` must not exist, or be empty. Raises `HubError` where it is full or cannot be written, for a GPT, for a Kimi
    that the format cannot express, for weights that are not finite, and for more tokens than the model has;
    `ConfigError` for an argument of another type and for a model without weights.
    """
    folder = Path(folder)
    if not isinstance(model, Kimi):
        raise HubError("a GPT cannot be exported: the DeepseekV3 format has Kimi's model only")
    check_held(model)
    if encoding.n_vocab > model.cfg.vocab_size:
        raise HubError(
            f"vocab_size={model.cfg.vocab_size} is less than the tokenizer's {encoding.n_vocab} tokens"
        )
    end_of_text = encoding.encode_single_token(END_OF_TEXT)
    config = to_hub_config(model.cfg, end_of_text) | {"dtype": str(model.lm_head.weight.dtype).split(".")[-1]}
    if astray := name_first(model.state_dict().items()):
        raise HubError(f"the weight {astray} is not finite: a model that diverged cannot be exported")
    about_tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,  # for rows of different lengths; the mask says which tokens count
        # Thirteen ordinary bytes where a text has these letters, as in our corpora.
        "split_special_tokens": True,
        "model_max_length": model.cfg.max_seq_len,
        "clean_up_tokenization_spaces": False,
    }
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise HubError(f"{_name(folder)} exists and is not an empty folder: name a new one")
        if folder.exists() and folder.samefile("."):
            # A new folder takes its place, and whoever stands in the old one would stand nowhere.
            raise HubError(f"{_name(folder)} is the current folder: name a new one")
        with new_folder(folder.absolute()) as unfinished:
            write_json(unfinished / "config.json", config)
            weights = {name: t.cpu().contiguous() for name, t in to_hub_weights(model).items()}
            save_file(weights, unfinished / _WEIGHTS, metadata={"format": "pt"})
            write_text(unfinished / "tokenizer.json", to_transformers(encoding).to_str())
            write_json(unfinished / "tokenizer_config.json", about_tokenizer)
    except (OSError, SafetensorError) as error:
        raise HubError(f"{_name(folder)} cannot be written: {_cause(error)}") from None


@checked
def from_pretrained(folder: AnyPath) -> Kimi:
    """The model in a folder that `save_pretrained` or transformers' `save_pretrained` wrote, in float32 on the CPU.

    Nothing outside the folder is read, but for files that links in it stand for, as in the hub's own cache. Raises
    `HubError`, which names the folder, where a file is missing or damaged, and where Kimi cannot be what it describes.
    """
    folder = Path(folder)
    try:
        _check_kind(folder)
        data = read_small_json(folder / "config.json", _LARGEST_CONFIG)
        if not isinstance(data, dict):
            raise HubError("config.json must hold the fields of a configuration")
        cfg = from_hub_config(data)
        if data.get("quantization_config"):
            raise HubError(
                "config.json: quantization_config must be missing: the weights have to be plain numbers"
            )
        with contextlib.ExitStack() as opened:
            parts = _open_weights(folder, opened)
            shapes = {name: tuple(part.get_slice(name).get_shape()) for name, part in parts.items()}
            plan = plan_weights(shapes, cfg)
            _check_memory(shape for _, shape in plan.values())
            state = {
                name: torch.cat([_read(parts, hub) for hub in names]).view(shape)
                for name, (names, shape) in plan.items()
            }
    except UnreadableFile as error:
        raise HubError(str(error)) from None
    except (ValueError, OSError, SafetensorError, RuntimeError, MemoryError) as error:
        # The last two: torch has no memory left.
        raise HubError(f"{_name(folder)}: {_cause(error)}") from None
    with torch.device("meta"):
        model = Kimi(cfg)  # no weight is drawn that another one replaces at once
    model.load_state_dict(state, assign=True)
    return model


def _check_kind(folder: Path) -> None:
    """Refuse what people take for such a folder: a name on the hub, and what `nanokimi train` writes."""
    if not folder.exists() and _REPOSITORY.fullmatch(str(folder)):
        raise HubError(
            "there is no such folder, and nothing is downloaded: a repository of the hub comes with "
            f"`hf download {folder} --local-dir FOLDER`; then name FOLDER"
        )
    if not (folder / "config.json").exists() and any(
        (each / "checkpoint.json").exists() for each in (folder, *folder.glob("step-*"))
    ):
        raise HubError(
            "this is the folder of a training: nanokimi.checkpoint.load_checkpoint loads it, "
            "and `nanokimi export` writes it in the format that is read here"
        )


def _check_memory(shapes: Iterable[tuple[int, ...]]) -> None:
    """Refuse a model that does not fit: a file with holes may be larger than any disk."""
    needed, limit = 4 * sum(map(math.prod, shapes)), memory_limit()
    if limit is not None and needed > limit:
        raise HubError(
            f"the weights take {needed / 1e9:.1f} GB in float32, and there are {limit / 1e9:.1f} GB of memory"
        )


def _open_weights(folder: Path, opened: contextlib.ExitStack) -> dict[str, Any]:
    """Every tensor's name, and the open file that holds it."""
    parts: dict[str, Any] = {}
    for path in _weight_files(folder):
        try:
            part = opened.enter_context(safe_open(path, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise HubError(f"{quote(path.name)} is damaged: {_cause(error)}") from None
        for name in part.keys():  # noqa: SIM118  a file, not a dict
            if name in parts:
                raise HubError(f"weights: {quote(name)} is in two files")
            parts[name] = part
    return parts


def _weight_files(folder: Path) -> Iterator[Path]:
    """model.safetensors, or the parts that its index names where there is no such file."""
    names, index = [_WEIGHTS], folder / _INDEX
    if not (folder / _WEIGHTS).exists() and index.exists():
        content = read_small_json(index, _LARGEST_INDEX)
        files = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
            raise HubError(f"{_INDEX}: weight_map must name a file for every weight")
        names = sorted(set(files.values()))
    for name in names:
        # A part lies beside its index: a path could name any file of the reader's machine.
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise HubError(f"{_INDEX}: {quote(name)} must be the plain name of a .safetensors file")
        if not (folder / name).is_file():
            raise HubError(f"{quote(name)} is missing")
        yield folder / name


def _read(parts: dict[str, Any], name: str) -> Tensor:
    """A tensor in float32 and in memory of its own: a file that is cut later does no harm."""
    kind = parts[name].get_slice(name).get_dtype()
    if kind not in _FORMATS:
        raise HubError(f"weights: {quote(name)} has numbers of type {kind}, which must be one of {_FORMATS}")
    tensor = parts[name].get_tensor(name).to(torch.float32, copy=True)
    if name_first([(name, tensor)]):
        raise HubError(f"weights: {quote(name)} is not finite")
    return tensor


def _name(folder: Path) -> str:
    return quote(str(folder), longest=200)


def _cause(error: Exception) -> str:
    """Why, without the path of a file that may be a temporary one."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file or a link is in the way"
    return one_line(error.strerror if isinstance(error, OSError) and error.strerror else error)
