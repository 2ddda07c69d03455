"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all.

A run folder holds `step-000300/` with
  model.safetensors      weights and expert biases
  optimizer.safetensors  momenta of every optimizer
  tokenizer.json         so that a checkpoint can write text by itself
  checkpoint.json        step, configurations, interventions, the corpus's fingerprint, and the checksums of the
                         files above and of itself
Nothing is pickled: loading a stranger's checkpoint runs none of the stranger's code.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiktoken
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanokimi.config import TrainConfig, to_dict
from nanokimi.model import Model, build_model
from nanokimi.presets.yaml_config import build, build_model_config
from nanokimi.steering import Intervention
from nanokimi.system.atomic import new_folder, write_json
from nanokimi.text import tokenizer

_FILES = ("model.safetensors", "optimizer.safetensors", "tokenizer.json")
_FORMAT = 1
_REPLACED = (
    ".replaced-"  # how the name of a checkpoint begins whose place is taken by a new one of the same step
)


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another kind: one line that says which and what to do."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, which its configuration does not say."""

    step: int
    seconds: float
    corpus_fingerprint: str
    interventions: tuple[Intervention, ...] = ()  # what was changed on the way: with any, the run was steered

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return vars(self) | {"interventions": [each.to_dict() for each in self.interventions]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TrainingState":
        """The inverse of `to_dict`."""
        interventions = tuple(Intervention(**each) for each in data.get("interventions", ()))
        return cls(**{**data, "interventions": interventions})


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read: the rebuilt model, the optimizers' tensors, and how far the training was."""

    model: Model
    optimizer_state: dict[str, Tensor]
    tokenizer: tiktoken.Encoding
    train: TrainConfig
    state: TrainingState
    path: Path


def save_checkpoint(
    run_dir: Path,
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    encoding: tiktoken.Encoding,
    train: TrainConfig,
    state: TrainingState,
) -> Path:
    """Write `run_dir/step-...`, delete the older checkpoints, and return the new folder.

    Killed at any moment, a whole checkpoint remains.
    """
    target = run_dir / f"step-{state.step:06d}"
    with new_folder(target) as folder:
        save_file({n: t.contiguous() for n, t in model.state_dict().items()}, folder / _FILES[0])
        save_file(pack_optimizers(model, optimizers), folder / _FILES[1])
        tokenizer.save_tokenizer(encoding, folder / _FILES[2])
        about = {
            "format": _FORMAT,
            "model": to_dict(model.cfg),
            "train": to_dict(train),
            "progress": state.to_dict(),
            "sha256": {name: _sha256(folder / name) for name in _FILES},
        }
        about["sha256"]["checkpoint.json"] = _sha256_of_about(about)
        write_json(folder / "checkpoint.json", about)
        if target.exists():
            # A new run in the folder of an old one. A full folder cannot be replaced in one step: the old checkpoint
            # gets another name, under which `_steps` finds it until the new one is there.
            old = run_dir / f"{_REPLACED}{target.name}"
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
    for old in _steps(run_dir):
        if old != target:
            shutil.rmtree(old)
    return target


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """The checkpoint in the folder `path`, or the newest one of a run's folder, with its model on `device`.

    Every file is checked against its checksum first. Raises `CheckpointError` where there is no checkpoint, and where
    a file is missing, damaged or of another format.
    """
    folder = find_newest(Path(path))
    try:
        about = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
        if _sha256_of_about(about) != about["sha256"]["checkpoint.json"]:
            raise CheckpointError(f"checkpoint {folder}: checkpoint.json is damaged (its checksum differs)")
        for name in _FILES:
            if _sha256(folder / name) != about["sha256"][name]:
                raise CheckpointError(f"checkpoint {folder}: {name} is damaged (its checksum differs)")
        if about["format"] != _FORMAT:
            raise CheckpointError(
                f"checkpoint {folder}: format {about['format']} is not {_FORMAT}, this version's"
            )
        model = build_model(build_model_config(about["model"], where=str(folder)))
        model.load_state_dict(load_file(folder / _FILES[0]))
        return Checkpoint(
            model=model.to(device),
            optimizer_state=load_file(folder / _FILES[1], device=str(device)),
            tokenizer=tokenizer.load_tokenizer(folder / _FILES[2]),
            train=build(TrainConfig, about["train"], where=str(folder)),
            state=TrainingState.from_dict(about["progress"]),
            path=folder,
        )
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {folder}: {Path(error.filename).name} is missing") from None
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        AttributeError,
        SafetensorError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"checkpoint {folder} is damaged: {reason}") from None


def find_newest(path: Path) -> Path:
    """`path` itself if it is a checkpoint, else the newest checkpoint in it; `CheckpointError` if there is none."""
    if (path / "checkpoint.json").exists():
        return path
    steps = _steps(path)
    if not steps:
        raise CheckpointError(f"no checkpoint in {path}: name a folder that `nanokimi train --out` wrote")
    return steps[-1]


def has_checkpoint(run_dir: Path) -> bool:
    """Whether `run_dir` holds a checkpoint to resume from."""
    return bool(_steps(run_dir))


# ---------------------------------------------------------------- optimizers as named tensors


def pack_optimizers(model: Model, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor of the optimizers' states, named `parameter|entry`: `layers.0.mlp.gate|momentum_buffer`."""
    names: dict[Tensor, str] = {p: n for n, p in model.named_parameters()}
    return {
        f"{names[p]}|{entry}": torch.as_tensor(value).contiguous()
        for optimizer in optimizers
        for p, state in optimizer.state.items()
        for entry, value in state.items()
    }


def unpack_optimizers(
    model: Model, optimizers: list[torch.optim.Optimizer], packed: dict[str, Tensor]
) -> None:
    """Put what `pack_optimizers` returned into optimizers that were freshly built for the same model, as copies."""
    parameters = dict(model.named_parameters())
    owner = {p: o for o in optimizers for g in o.param_groups for p in g["params"]}
    for key, value in packed.items():
        name, entry = key.split("|")
        p = parameters[name]
        owner[p].state[p][entry] = value.clone()


def _steps(run_dir: Path) -> list[Path]:
    """The whole checkpoints, the newest last. One that is being replaced counts, before all others."""
    found = (*sorted(run_dir.glob(f"{_REPLACED}step-*")), *sorted(run_dir.glob("step-*")))
    return [p for p in found if (p / "checkpoint.json").exists()]


def _sha256_of_about(about: dict) -> str:
    """The checksum of what checkpoint.json says, its own checksum left out."""
    files = {name: value for name, value in about["sha256"].items() if name != "checkpoint.json"}
    text = json.dumps({**about, "sha256": files}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
