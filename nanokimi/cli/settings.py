"""The settings of a run: read from presets and `--set`, written to run.yaml, and read again to resume."""

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanokimi.config import ConfigError, DataConfig, GPTConfig, KimiConfig, ModelConfig, TrainConfig, to_dict
from nanokimi.presets.plain_yaml import dump
from nanokimi.presets.yaml_config import (
    build,
    build_model_config,
    read_settings,
    read_yaml,
    setting_names,
)
from nanokimi.runs import state
from nanokimi.system.atomic import write_text
from nanokimi.system.printable import one_line, quote
from nanokimi.text.sources import SOURCES

RUN_FILE = "run.yaml"
MAY_DIFFER = ("data.cache_dir", *(f"train.{name}" for name in state.MAY_DIFFER), "train.steps")
# The training preset of a model for which none is named: each kind as the benchmark's default arms train it.
USUAL_TRAINING = {"kimi": "train-kimi", "gpt": "train-tiny"}
SECTIONS = {"data": (DataConfig,), "model": (KimiConfig, GPTConfig), "train": (TrainConfig,)}


@dataclass(frozen=True)
class Run:
    """All settings of a run."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig


def sort_overrides(overrides: list[str], *sections: str) -> dict[str, list[str]]:
    """The overrides of each section, without its name: `model.top_k=4` is `top_k=4` under "model"."""
    by_section: dict[str, list[str]] = {section: [] for section in sections}
    for text in overrides:
        check_letters(text, "--set", "write it in UTF-8")
        name, equals, _ = text.partition("=")
        section, dot, _ = name.strip().partition(".")
        if not equals or not dot or section not in by_section:
            raise ConfigError(_refuse_section(text, section, sections))
        by_section[section].append(text.strip().removeprefix(f"{section}."))
    return by_section


def _refuse_section(text: str, first: str, sections: tuple[str, ...]) -> str:
    """What an override without one of the sections must look like; `first` is its name up to the first dot."""
    having = [s for s in sections if any(first in setting_names(cls) for cls in SECTIONS[s])]
    if having and "=" in text:
        choices = " or ".join(f"--set {quote(f'{section}.{text.strip()}')}" for section in having)
        return f"--set {quote(text)} lacks its section: say {choices}"
    *others, last = (f"{section}.name=value" for section in sections)
    return f"--set {quote(text)} must look like {', '.join(others)}{' or ' if others else ''}{last}"


def load_data_config(data: str, overrides: list[str]) -> DataConfig:
    """The text settings in a .yaml file, or the defaults for a source."""
    if data.endswith((".yaml", ".yml")):
        return build(DataConfig, read_yaml(data), overrides, data, "data")
    return build(DataConfig, {"source": data}, overrides, "--data", "data")


def load_model_config(model: str, overrides: list[str]) -> ModelConfig:
    """The model settings of a preset or a .yaml file."""
    return build_model_config(read_settings(model, "model"), overrides, model, "model")


def load_train_config(training: str, overrides: list[str]) -> TrainConfig:
    """The training settings of a preset or a .yaml file."""
    return build(TrainConfig, read_settings(training, "training"), overrides, training, "train")


def check_fits(model_cfg: ModelConfig, train_cfg: TrainConfig) -> None:
    """`ConfigError` unless the model can read sequences as long as those of the training."""
    if train_cfg.seq_len > model_cfg.max_seq_len:
        raise ConfigError(
            f"train.seq_len={train_cfg.seq_len} is above model.max_seq_len={model_cfg.max_seq_len}: "
            "lower train.seq_len or raise model.max_seq_len with --set"
        )


def check_letters(text: str, what: str, cure: str) -> None:
    """`ConfigError` for a word of a command with bytes that Python could not read as letters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            text = os.fsencode(text).decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{what} {quote(text)} is not UTF-8; {cure}") from None
        raise ConfigError(
            f"{what} {quote(text)} has letters that the locale of this terminal lacks; set PYTHONUTF8=1, or a locale "
            "with UTF-8, as LC_ALL=C.UTF-8"
        ) from None


def check_name(out: Path) -> None:
    """`ConfigError` unless `safetensors` can write in the folder: it knows only names that are UTF-8."""
    check_letters(str(out.absolute()), "the name of the folder", "name another")


def write_run(out: Path, run: Run, origin: str = "") -> None:
    """Write the settings of a run to its folder; a path becomes absolute, so that it resumes from anywhere.

    origin: where its first weights come from, where they are not made from the seed. It becomes a comment.
    """
    data = run.data
    if data.source not in SOURCES:
        data = replace(data, source=str(Path(data.source).expanduser().absolute()))
    if data.cache_dir is not None:
        data = replace(data, cache_dir=str(Path(data.cache_dir).expanduser().absolute()))
    sections: dict[str, Any] = {
        "data": to_dict(data),
        "model": to_dict(run.model),
        "train": to_dict(run.train),
    }
    _write(out, (f"# The first weights are those of {one_line(origin)}\n" if origin else "") + dump(sections))


def write_steps(out: Path, steps: int) -> None:
    """Write another number of steps to the settings of a run that goes on; all others stay as they are."""
    _, saved = _read_sections(out)
    if saved["train"].get("steps") != steps:
        lines = (out / RUN_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
        comments = "".join(each for each in lines if each.startswith("#"))
        saved["train"]["steps"] = steps
        _write(out, comments + dump(saved))


def _write(out: Path, text: str) -> None:
    try:
        write_text(out / RUN_FILE, text)
    except OSError as error:
        raise ConfigError(f"folder {quote(str(out))} cannot be written: {error.strerror}") from None


def forget_run(out: Path) -> None:
    """Delete the settings of a run that did not take its first step."""
    with contextlib.suppress(OSError):
        (out / RUN_FILE).unlink()


def read_run(out: Path, overrides: list[str]) -> Run:
    """The settings that `write_run` wrote, with overrides of `MAY_DIFFER`; `ConfigError` where they are damaged."""
    for text in overrides:
        if text.partition("=")[0].strip() not in MAY_DIFFER:
            raise ConfigError(
                f"--resume continues with the run's own settings: leave --set {quote(text)} out "
                f"(only {', '.join(MAY_DIFFER)} may differ)"
            )
    sets = sort_overrides(overrides, "data", "train")
    if not (out / RUN_FILE).exists():
        raise ConfigError(
            f"cannot resume {quote(str(out))}: its {RUN_FILE} with the settings of the run is missing; "
            "`nanokimi generate` and `export` still read the checkpoint"
        )
    where, saved = _read_sections(out)
    return Run(
        _read_data(saved, where, sets["data"]),
        build_model_config(saved["model"], where=where),
        build(TrainConfig, saved["train"], sets["train"], where, "train"),
    )


def read_data(out: Path, overrides: list[str]) -> DataConfig:
    """The text settings that `write_run` wrote, with overrides; `ConfigError` where there are none."""
    if not (out / RUN_FILE).exists():
        raise ConfigError(
            f"{quote(str(out))} has no {RUN_FILE}, which says what the text of the model was: name it with --data, and "
            "its settings with --set data.name=value"
        )
    where, saved = _read_sections(out)
    return _read_data(saved, where, overrides)


def _read_sections(out: Path) -> tuple[str, dict[str, Any]]:
    """The name of the file that `write_run` wrote, and its sections, as plain data."""
    where = str(out / RUN_FILE)
    saved = read_yaml(out / RUN_FILE)
    sections = ("data", "model", "train")
    for section in saved:
        if section not in sections:
            raise ConfigError(f"{where}: section {quote(section)} is unknown; it has {', '.join(sections)}")
    for section in sections:
        if not isinstance(saved.get(section), dict):
            raise ConfigError(f"{where} has no section {section}:")
    return where, saved


def _read_data(saved: dict[str, Any], where: str, overrides: list[str]) -> DataConfig:
    """The text settings of a run, whose text is still there."""
    data = build(DataConfig, saved["data"], overrides, where, "data")
    if data.source not in SOURCES and not Path(data.source).exists():
        raise ConfigError(
            f"the text of this run, {quote(data.source)}, is gone: put it back, or write its new path at "
            f"data.source in {quote(where)}"
        )
    return data
