"""The settings of a run: read from presets and `--set`, written to run.yaml, and read again to resume."""

from pathlib import Path
from typing import Any

import yaml

from nanokimi.config import ConfigError, DataConfig, ModelConfig, TrainConfig, to_dict
from nanokimi.presets.yaml_config import build, build_model_config, read_yaml
from nanokimi.system.atomic import write_text

RUN_FILE = "run.yaml"


def sort_overrides(overrides: list[str], *sections: str) -> dict[str, list[str]]:
    """The overrides of each section, without its name: `model.top_k=4` is `top_k=4` under "model"."""
    by_section: dict[str, list[str]] = {section: [] for section in sections}
    for text in overrides:
        section, dot, rest = text.partition(".")
        if not dot or section not in by_section:
            allowed = ", ".join(f"{s}.name=value" for s in sections)
            raise ConfigError(f"--set {text!r} must look like {allowed}")
        by_section[section].append(rest)
    return by_section


def load_data_config(data: str, overrides: list[str]) -> DataConfig:
    """The text settings in a .yaml file, or the defaults for a source."""
    given = read_yaml(data) if data.endswith((".yaml", ".yml")) else {"source": data}
    return build(DataConfig, given, overrides, "data")


def check_fits(model_cfg: ModelConfig, train_cfg: TrainConfig) -> None:
    """`ConfigError` unless the model can read sequences as long as those of the training."""
    if train_cfg.seq_len > model_cfg.max_seq_len:
        raise ConfigError(
            f"train.seq_len={train_cfg.seq_len} is above model.max_seq_len={model_cfg.max_seq_len}: "
            "lower train.seq_len or raise model.max_seq_len with --set"
        )


def write_run(out: Path, data: DataConfig, model: ModelConfig, training: TrainConfig) -> None:
    """Write the settings of a run to its folder."""
    sections: dict[str, Any] = {"data": to_dict(data), "model": to_dict(model), "train": to_dict(training)}
    write_text(out / RUN_FILE, yaml.safe_dump(sections, sort_keys=False))


def has_run(out: Path) -> bool:
    """Whether a folder holds the settings of a run."""
    return (out / RUN_FILE).exists()


def read_run(out: Path) -> tuple[DataConfig, ModelConfig, TrainConfig]:
    """The settings that `write_run` wrote; `ConfigError` where they are missing or damaged."""
    path = out / RUN_FILE
    if not path.exists():
        raise ConfigError(f"nothing to resume in {out}: it has no {RUN_FILE}; name the --out of a run")
    saved, where = read_yaml(path), str(path)
    for section in ("data", "model", "train"):
        if not isinstance(saved.get(section), dict):
            raise ConfigError(f"{where} has no section {section}:")
    return (
        build(DataConfig, saved["data"], where=where),
        build_model_config(saved["model"], where=where),
        build(TrainConfig, saved["train"], where=where),
    )
