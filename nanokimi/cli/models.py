"""The model that --checkpoint names, and the text that it can be measured on."""

from dataclasses import replace
from pathlib import Path

from nanokimi import checkpoint, pretrained
from nanokimi.cli import settings
from nanokimi.cli.terminal import load_corpus_with_bars, tell
from nanokimi.config import ConfigError, DataConfig, to_dict
from nanokimi.presets.yaml_config import build
from nanokimi.pretrained import Pretrained
from nanokimi.system.printable import quote
from nanokimi.system.refusals import require
from nanokimi.text.corpus import Corpus

# A trained model as --checkpoint and --init-from find it.
Found = checkpoint.Checkpoint | Pretrained


def load_model(path: Path) -> Found:
    """The model in a folder; where nothing has this name, the one that comes with the lab under it."""
    shipped = pretrained.names()
    if not path.exists() and str(path) in shipped:
        return pretrained.load_pretrained(str(path))
    require(
        path.exists() or path.name != str(path),
        f"no checkpoint in {quote(str(path))}: name a folder that `nanokimi train` wrote, or a model that comes with "
        f"the lab: {', '.join(shipped)}",
    )
    return load_newest(path)


def load_newest(path: Path) -> checkpoint.Checkpoint:
    """The newest checkpoint that loads; where that is not the newest of all, a line says why."""
    found = checkpoint.load_checkpoint(path)
    for damaged in found.skipped:
        tell(f"{damaged}; the checkpoint before it is used")
    return found


def name_of(found: Found) -> str:
    """The folder of a checkpoint, or the name of a model that comes with the lab."""
    return found.name if isinstance(found, Pretrained) else str(found.path)


def step_of(found: Found) -> int:
    """How many steps it was trained for."""
    return found.steps if isinstance(found, Pretrained) else found.state.step


def load_its_text(found: Found, data: str | None, overrides: list[str]) -> tuple[DataConfig, Corpus]:
    """The text of the model's training, which `data` names, or else what is kept beside the model.

    The settings have as many stories as the model has read: one that comes with the lab has read more than its text.
    `ConfigError` for another text, and where nothing says which one it is.
    """
    sets = settings.sort_overrides(overrides, "data")["data"]
    cfg = settings.load_data_config(data, sets) if data is not None else recall_text(found, sets)
    text = load_corpus_with_bars(cfg, found.train.seq_len)
    if not _is_its_text(found, text):
        raise ConfigError(
            f"{quote(text.name)} with these settings is not the text that {quote(name_of(found))} was trained on: "
            "name that text with --data, and its settings with --set data.name=value"
        )
    if isinstance(found, Pretrained) and found.n_stories is not None:
        cfg = replace(cfg, n_stories=found.n_stories)
    return cfg, text


def recall_text(found: Found, sets: list[str]) -> DataConfig:
    """The settings of the text that a model was trained on, which are kept beside it; `ConfigError` without them."""
    if not isinstance(found, Pretrained):
        return settings.read_data(found.path.parent, sets)
    if found.data is None:
        raise ConfigError(f"the lab does not have the text of {found.name}: name it with --data")
    return build(DataConfig, to_dict(found.data), sets, found.name, "data")


def _is_its_text(found: Found, text: Corpus) -> bool:
    """Of a model that comes with the lab the tokens say it: they were learnt from its text."""
    if not isinstance(found, Pretrained):
        return text.fingerprint == found.state.corpus_fingerprint
    return has_its_tokens(found, text)


def has_its_tokens(found: Found, text: Corpus) -> bool:
    """Whether a text is cut into the tokens that the model was trained with."""
    return text.tokenizer._mergeable_ranks == found.tokenizer._mergeable_ranks
