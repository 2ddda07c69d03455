"""A checkpoint's files, read by somebody who trusts none of them.

Checksums come first, then what the configuration claims is compared with what the files hold, and only then is memory
taken. Nothing is pickled.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import tiktoken
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nanokimi.config import TrainConfig
from nanokimi.model import Model, build_model
from nanokimi.optim import group_parameters
from nanokimi.own import table
from nanokimi.presets.yaml_config import build, build_model_config
from nanokimi.runs import claims
from nanokimi.runs.optimizers import check_state, check_steps
from nanokimi.runs.state import CheckpointError, TrainingState, check_section, read_section
from nanokimi.system.printable import one_line, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.text import tokenizer

FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json")
ABOUT = "checkpoint.json"
FORMAT = 1
_LARGEST_ABOUT = 1 << 24  # bytes; a thousand interventions take 100,000
_LARGEST_TOKENIZER = 1 << 28


def read_checkpoint(
    path: Path,
) -> tuple[Model, dict[str, Tensor], tiktoken.Encoding, TrainConfig, TrainingState]:
    """The model of the checkpoint in this folder, the optimizers' tensors, the tokenizer, the settings and the state.

    Whatever is wrong with its files becomes a `CheckpointError` of one line.
    """
    try:
        about = _read_about(path)
        _check_files(path, about["sha256"])
        train = build(TrainConfig, about["train"], where="its training")
        state = TrainingState.from_dict(about["progress"])
        model = _load_model(path, about["model"])
        for each in state.interventions:
            each.check_fits(model)
        packed = _load_optimizers(path, model, train)
        encoding = tokenizer.load_tokenizer(path / FILES[2])
        if encoding.n_vocab > model.cfg.vocab_size:
            raise ValueError(f"{FILES[2]} has {encoding.n_vocab} tokens, the model {model.cfg.vocab_size}")
    except (CheckpointError, torch.OutOfMemoryError):
        raise
    except UnreadableFile as error:
        reason = str(error).removeprefix(f"file {path}/").replace(" is damaged:", ":")
        raise CheckpointError(f"checkpoint {path} is damaged: {reason}") from None
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path}: {Path(error.filename).name} is missing") from None
    except Exception as error:  # a stranger's files: whatever they make our readers raise
        reason = one_line(str(error) or type(error).__name__, 300)
        raise CheckpointError(f"checkpoint {path} is damaged: {reason}") from None
    return model, packed, encoding, train, state


def _read_about(path: Path) -> dict[str, Any]:
    """What checkpoint.json says, as far as it is of this version, has its sections, and its checksum is right."""
    _refuse_links(path)
    about = check_section(read_small_json(path / ABOUT, _LARGEST_ABOUT), ABOUT)
    if about.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"checkpoint {path}: format {quote(about['format'])} is not {FORMAT}, this version's"
        )
    read_section(about, ABOUT, ("format", "model", "train", "progress", "sha256"))
    for name in ("model", "train", "progress"):
        check_section(about[name], f"{ABOUT}: {name}")
    read_section(about["sha256"], f"{ABOUT}: sha256", (ABOUT, *FILES))
    if hash_about(about) != about["sha256"][ABOUT]:
        raise CheckpointError(f"checkpoint {path}: {ABOUT} is damaged (its checksum differs)")
    return about


def _check_files(path: Path, checksums: dict[str, str]) -> None:
    """Raise `CheckpointError` unless every file is there and is the one that was written."""
    for name in FILES:
        file = path / name
        if file.stat().st_size > _LARGEST_TOKENIZER and file.suffix == ".json":
            raise CheckpointError(f"checkpoint {path}: {name} is damaged (it is too large)")
        if hash_file(file) != checksums[name]:
            raise CheckpointError(f"checkpoint {path}: {name} is damaged (its checksum differs)")


def _refuse_links(path: Path) -> None:
    """Raise `CheckpointError` for a checkpoint that is not made of plain files of its own.

    Only what a run's folder holds is looked at: whoever names a link means what it points to.
    """
    for name in (ABOUT, *FILES):
        file = path / name
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise CheckpointError(f"checkpoint {path}: {name} is no file but a link, a folder or a pipe")


def _load_model(path: Path, settings: dict[str, Any]) -> Model:
    """The model, built only after its configuration and the file of its weights have been found to fit."""
    attention = settings.get("attention", "mla")
    if isinstance(attention, str) and not table.is_known(attention):  # no damage: its code is not here
        raise CheckpointError(f"checkpoint {path}: its {table.explain_unknown(attention)}")
    cfg = build_model_config(settings, where="its model")
    found = claims.read_header(path / FILES[0])
    try:
        claims.match(found, claims.claim_of(cfg, len(found)))
    except ValueError as error:
        raise ValueError(f"{FILES[0]} does not fit its configuration: {error}") from None
    model = build_model(cfg)
    model.load_state_dict(load_file(path / FILES[0]))
    return model


def _load_optimizers(path: Path, model: Model, train: TrainConfig) -> dict[str, Tensor]:
    """The optimizers' tensors, after they have been found to be those of this model and training."""
    muon = {p for group in group_parameters(model, train.optim)[0].values() for p in group}
    try:
        check_state(model, muon, claims.read_header(path / FILES[1]))
        # Copies: what is loaded is mapped from the file, which may be deleted or cut while the training goes on.
        packed = {name: value.clone() for name, value in load_file(path / FILES[1]).items()}
        check_state(model, muon, claims.describe(packed))
        check_steps(packed)
    except (ValueError, SafetensorError) as error:
        raise ValueError(f"{FILES[1]} does not fit the model: {error}") from None
    return packed


def hash_about(about: dict, own: str = ABOUT) -> str:
    """The checksum of what the file `own` says, its own checksum left out."""
    files = {name: value for name, value in about["sha256"].items() if name != own}
    text = json.dumps({**about, "sha256": files}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
