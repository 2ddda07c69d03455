"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all.

A run folder holds `step-000300/` with
  model.safetensors      weights and expert biases
  optimizer.safetensors  momenta of every optimizer
  tokenizer.json         so that a checkpoint can write text by itself
  checkpoint.json        step, settings, interventions, the corpus's fingerprint, checksums of the files and of itself
and the checkpoint before it, which is used where the newest does not load (`runs.folder`). Nothing is pickled: a
stranger's checkpoint runs no code, and what it claims is compared with its files before memory is taken.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import tiktoken
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nanokimi import ranks
from nanokimi.config import TrainConfig, to_dict
from nanokimi.model import Model
from nanokimi.runs import folder
from nanokimi.runs.optimizers import pack_optimizers, unpack_optimizers
from nanokimi.runs.reading import ABOUT, FILES, FORMAT, hash_about, hash_file, read_checkpoint
from nanokimi.runs.state import BEGIN_ANEW, CheckpointError, TrainingState, name_cause
from nanokimi.system.atomic import new_folder, write_json
from nanokimi.system.checked import checked
from nanokimi.system.devices import AnyDevice
from nanokimi.system.finite import check_held, name_first
from nanokimi.system.paths import AnyPath
from nanokimi.system.printable import quote
from nanokimi.text import tokenizer

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "TrainingState",
    "find_newest",
    "has_checkpoint",
    "load_checkpoint",
    "restore_",
    "save_checkpoint",
]


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read: the rebuilt model, the optimizers' tensors, and how far the training was."""

    model: Model
    optimizer_state: dict[str, Tensor]
    tokenizer: tiktoken.Encoding
    train: TrainConfig
    state: TrainingState
    path: Path
    skipped: tuple[str, ...] = ()  # a line for every newer checkpoint of the run that does not load


def save_checkpoint(
    run_dir: Path,
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    encoding: tiktoken.Encoding,
    train: TrainConfig,
    state: TrainingState,
) -> Path:
    """Write `run_dir/step-...`, delete all but the checkpoint before it, and return the new folder.

    Killed at any moment, or without power, a whole checkpoint remains. Raises `CheckpointError` where the disk is full
    or fails; the older checkpoints then stay. Of several ranks each calls this, and rank 0 writes. What it writes does
    not show how many there were.
    """
    check_held(model)
    target = run_dir / f"step-{state.step:06d}"
    weights, momenta = ranks.gather(model.state_dict()), ranks.gather(pack_optimizers(model, optimizers))
    if ranks.rank() > 0:
        return target
    try:
        with new_folder(target) as unfinished:
            save_file(weights, unfinished / FILES[0])
            save_file(momenta, unfinished / FILES[1])
            tokenizer.save_tokenizer(encoding, unfinished / FILES[2])
            about = {
                "format": FORMAT,
                "model": to_dict(model.cfg),
                "train": to_dict(train),
                "progress": state.to_dict(),
                "sha256": {name: hash_file(unfinished / name) for name in FILES},
            }
            about["sha256"][ABOUT] = hash_about(about)
            write_json(unfinished / ABOUT, about)
            folder.make_room(target)
        folder.keep_two(target)
    except (OSError, SafetensorError) as error:
        kept = folder.list_checkpoints(run_dir)
        rest = f"what is saved is {quote(str(kept[0]))}" if kept else "nothing is saved"
        full = f"folder {quote(str(run_dir))} cannot be written: {name_cause(error)}; {rest}"
        raise CheckpointError(folder.explain_gone(run_dir) or full) from None
    return target


@checked
def load_checkpoint(path: AnyPath, device: AnyDevice = "cpu") -> Checkpoint:
    """The checkpoint in the folder `path`, or the newest one of a run's folder that loads, with its model on `device`.

    Every file is checked against its checksum, and what it claims against what it holds. Raises `CheckpointError`
    where there is no checkpoint, where a file is missing, damaged or of another format, and where a weight is not
    finite. In a run's folder a checkpoint that does not load is skipped: `Checkpoint.skipped` then has a line about it.
    """
    path = Path(path)
    while (newest := find_newest(path)) != path:
        checkpoints, skipped = folder.list_checkpoints(path), list[str]()
        for each in checkpoints:
            try:
                if each.is_symlink():
                    raise CheckpointError(f"checkpoint {each} is a link, not a folder of this run")
                found = _load(each, device)
                skipped += [f"checkpoint {torn}: {ABOUT} is missing" for torn in folder.list_torn(each)]
                return replace(found, skipped=tuple(skipped))
            except CheckpointError as error:
                if each.exists():  # else the training that goes on there has just deleted it
                    skipped.append(str(error))
        if skipped and folder.list_checkpoints(path) == checkpoints:
            others = [f"nor does the one before it load, {each}" for each in skipped[1:2]]
            raise CheckpointError("; ".join([skipped[0], *others, BEGIN_ANEW]))
    return _load(newest, device)


@torch.no_grad()
def restore_(model: Model, optimizers: list[torch.optim.Optimizer], found: Checkpoint) -> None:
    """Put the weights and momenta of a checkpoint into a model of its configuration, and into its fresh optimizers."""
    held = model.state_dict()
    for name, value in found.model.state_dict().items():
        ranks.own(held[name]).copy_(ranks.part(value, held[name]))
    unpack_optimizers(model, optimizers, found.optimizer_state)


@checked
def find_newest(path: AnyPath) -> Path:
    """`path` itself if it is a checkpoint, else the newest checkpoint in it; `CheckpointError` if there is none."""
    if ((path := Path(path)) / ABOUT).exists():
        return path
    found = folder.list_checkpoints(path)
    if not found:
        raise CheckpointError(f"no checkpoint in {path}: name a folder that `nanokimi train --out` wrote")
    return found[0]


@checked
def has_checkpoint(run_dir: AnyPath) -> bool:
    """Whether `run_dir` holds a checkpoint to resume from."""
    return bool(folder.list_checkpoints(Path(run_dir)))


def _load(path: Path, device: str | torch.device) -> Checkpoint:
    model, packed, encoding, train, state = read_checkpoint(path)
    if astray := name_first([*model.state_dict().items(), *packed.items()]):
        raise CheckpointError(f"checkpoint {path}: {quote(astray)} is not finite: it was damaged or altered")
    on_device = {name: value.to(device) for name, value in packed.items()}
    return Checkpoint(model.to(device), on_device, encoding, train, state, path)
