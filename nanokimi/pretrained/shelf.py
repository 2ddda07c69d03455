"""The folder of a model that comes with the lab: written once by who trained it, and read by name.

model.safetensors  weights and expert biases, as 16-bit floats
tokenizer.json     so that it can write text by itself
about.json         its settings, its text, the command, the loss before it was rounded, checksums of all three
README.md          the model card
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tiktoken
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanokimi.config import ConfigError, DataConfig, TrainConfig, to_dict
from nanokimi.evaluate import Evaluation, RoleLoss
from nanokimi.model import Model, build_model
from nanokimi.presets.yaml_config import build, build_model_config
from nanokimi.runs.reading import hash_about, hash_file
from nanokimi.system.atomic import new_folder, write_json
from nanokimi.system.checked import checked
from nanokimi.system.finite import name_first
from nanokimi.system.printable import OneLineError, one_line, quote
from nanokimi.system.reading import UnreadableFile, read_small_json
from nanokimi.system.refusals import nearest
from nanokimi.text import tokenizer

SHELF = Path(__file__).parent
WEIGHTS, TOKENS, ABOUT = "model.safetensors", "tokenizer.json", "about.json"
_LARGEST_ABOUT = 100_000  # bytes


class PretrainedError(OneLineError):
    """A model that comes with the lab and cannot be read: one line that says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A trained model and what is known of it.

    tokenizer: cuts text into its tokens. data: the settings of its text, None where the lab does not have that text.
    n_stories: how many stories of that world it has read, more than that text has; None for other text.
    train: how it was trained, for `steps` steps. evaluation: its loss on held-out text, before rounding.
    """

    name: str
    model: Model
    tokenizer: tiktoken.Encoding
    data: DataConfig | None
    n_stories: int | None
    train: TrainConfig
    steps: int
    evaluation: Evaluation


def names() -> list[str]:
    """The models that come with the lab."""
    return sorted(each.name for each in SHELF.iterdir() if each.is_dir() and each.name[0] not in "._")


@checked
def load_pretrained(name: str) -> Pretrained:
    """The model of this name, on the CPU, in float32 and ready to write. Needs no network, no text and no training.

    Raises `ConfigError` for a name that no model has, and `PretrainedError` where a file is missing or damaged.

    >>> from nanokimi import generate, load_pretrained
    >>> found = load_pretrained("kimi-storyworld")
    >>> start = found.tokenizer.encode("Once upon a time")
    >>> len(list(generate(found.model, start, max_new_tokens=5)))
    5
    """
    if name not in names():
        raise ConfigError(f"no model {quote(name)} comes with the lab; {nearest(name, names())}")
    try:
        return read_model(SHELF / name)
    except UnreadableFile:
        raise PretrainedError(
            f"model {name} is damaged: {ABOUT} cannot be read; install nanokimi again"
        ) from None
    except Exception as error:  # whatever a damaged file makes our readers raise
        why = one_line(str(error) or type(error).__name__, 300)
        raise PretrainedError(f"model {name} is damaged: {why}; install nanokimi again") from None


@torch.no_grad()
def write_model(
    folder: Path,
    model: Model,
    encoding: tiktoken.Encoding,
    data: DataConfig | None,
    train: TrainConfig,
    evaluation: Evaluation,
    origin: dict[str, Any],
    card: str,
) -> None:
    """Write the folder of a model; it appears whole or not at all.

    evaluation: measured with the weights as they are. origin: where they come from, for about.json. card: the model
    card. `ConfigError` for weights that are not finite as 16-bit floats.
    """
    halves = {name: _halve(value).contiguous() for name, value in model.state_dict().items()}
    if astray := name_first(halves.items()):
        raise ConfigError(f"the weight {astray} is not finite in half precision")
    with new_folder(folder) as unfinished:
        save_file(halves, unfinished / WEIGHTS)
        (unfinished / WEIGHTS).chmod(0o644)  # the library writes files that nobody else can read
        tokenizer.save_tokenizer(encoding, unfinished / TOKENS)
        about = {
            "model": to_dict(model.cfg),
            "train": to_dict(train),
            "data": None if data is None else to_dict(data),
            "evaluation": asdict(evaluation),
            "origin": origin,
            "sha256": {name: hash_file(unfinished / name) for name in (WEIGHTS, TOKENS)},
        }
        about["sha256"][ABOUT] = hash_about(about, ABOUT)
        write_json(unfinished / ABOUT, about)
        (unfinished / "README.md").write_text(card, encoding="utf-8")


def read_model(folder: Path) -> Pretrained:
    """The model of a folder that `write_model` wrote; whatever a damaged file makes our readers raise."""
    about = read_small_json(folder / ABOUT, _LARGEST_ABOUT)
    digests = about["sha256"]
    actual = {name: hash_file(folder / name) for name in (WEIGHTS, TOKENS)} | {
        ABOUT: hash_about(about, ABOUT)
    }
    for name, digest in actual.items():
        if digests[name] != digest:
            raise ValueError(f"{name} is not what was written: its checksum differs")
    model = build_model(build_model_config(about["model"], where=ABOUT))
    model.load_state_dict({name: _widen(value) for name, value in load_file(folder / WEIGHTS).items()})
    recorded = dict(about["evaluation"])
    if recorded["by_role"] is not None:
        recorded["by_role"] = {role: RoleLoss(**loss) for role, loss in recorded["by_role"].items()}
    return Pretrained(
        name=folder.name,
        model=model.eval(),
        tokenizer=tokenizer.load_tokenizer(folder / TOKENS),
        data=None if about["data"] is None else build(DataConfig, about["data"], where=ABOUT),
        n_stories=about["origin"]["stories"],
        train=build(TrainConfig, about["train"], where=ABOUT),
        steps=about["origin"]["steps"],
        evaluation=Evaluation(**recorded),
    )


def _halve(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def _widen(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
