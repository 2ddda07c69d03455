"""Configurations from and to YAML: presets by name, files of yours, and `name=value` overrides.

``load_model_config("kimi-tiny", ["top_k=4"])``, ``load_train_config("my/train.yaml")``.
Whatever is wrong raises `ConfigError` with one line that names the field, its value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from nanokimi.config import ConfigError, GPTConfig, KimiConfig, ModelConfig, TrainConfig
from nanokimi.presets.plain_yaml import parse, read_plain_yaml
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.system.refusals import explain, nearest, sections

PRESETS = Path(__file__).parent
T = TypeVar("T")


def preset_names(prefix: str = "") -> list[str]:
    """The names of the shipped presets that start with `prefix`, sorted."""
    return sorted(p.stem for p in PRESETS.glob("*.yaml") if p.stem.startswith(prefix))


def read_yaml(name: str | Path) -> dict[str, Any]:
    """The settings in a preset (`kimi-tiny`) or in a YAML file of yours (`my/kimi.yaml`)."""
    if str(name).endswith((".yaml", ".yml")):
        path = Path(name)
    elif str(name) in preset_names():
        path = PRESETS / f"{name}.yaml"
    else:
        raise ConfigError(
            f"preset {quote(str(name))} does not exist; {nearest(str(name), preset_names())} "
            "(`nanokimi presets` lists all; a file of yours ends in .yaml)"
        )
    data = read_plain_yaml(path)
    if not isinstance(data, dict):
        held = "nothing" if data is None else "a list" if isinstance(data, list) else f"only {quote(data)}"
        raise ConfigError(f"file {path} must hold `name: value` lines, not {held}")
    return data


def read_settings(name: str | Path, kind: str) -> dict[str, Any]:
    """The settings in a preset or a file, as `read_yaml`; `ConfigError` where they are not those of a `kind`."""
    data = read_yaml(name)
    found = _name_kind(data)
    if found not in (kind, ""):
        is_preset = str(name) in preset_names()
        holds = f"is a {found} preset" if is_preset else f"holds the settings of a {found}"
        others = [each for each in preset_names() if _name_kind(read_yaml(each)) == kind]
        raise ConfigError(f"{name} {holds}; {kind} presets are {', '.join(others)}")
    return data


def _name_kind(data: dict[str, Any]) -> str:
    """What the settings are for: a model, a training, a benchmark or a study; empty where they do not show it."""
    if "arms" in data:
        return "study" if "rates" in data else "benchmark"
    if "kind" in data:
        return "model"
    return "training" if setting_names(TrainConfig) & data.keys() else ""


def build(
    cls: type[T], data: dict[str, Any], overrides: Sequence[str] = (), where: str = "", section: str = ""
) -> T:
    """`cls` from plain data and `name=value` overrides; raises `ConfigError` in one line.

    The line begins with the override that made the mistake, else with `where`. section: of the command line, where
    the override `name=value` was `--set section.name=value`.
    """
    versions = [dict(data)]
    for text in overrides:
        versions.append(_override(cls, versions[-1], text, section))
    try:
        return _make(cls, versions[-1])
    except ConfigError as error:
        mistake = str(error)
    made_by = next(i for i, version in enumerate(versions) if _find_mistake(cls, version) == mistake)
    where = _call(overrides[made_by - 1], section) if made_by else where
    raise ConfigError(f"{where}: {mistake}" if where else mistake)


def _make(cls: type[T], data: dict[str, Any]) -> T:
    for name in data:
        if not isinstance(name, str):
            raise ConfigError(f"{quote(name)} is not a setting: names are words")
    try:
        return cls(**data)
    except ValidationError as error:
        raise ConfigError(explain(error, cls)) from None
    except ConfigError as error:  # nobody writes None in YAML
        raise ConfigError(str(error).replace("=None must", " is empty: it must", 1)) from None


def _find_mistake(cls: type, data: dict[str, Any]) -> str:
    """The line that says what is wrong; empty where nothing is."""
    try:
        _make(cls, data)
    except ConfigError as error:
        return str(error)
    return ""


def build_model_config(
    data: dict[str, Any], overrides: Sequence[str] = (), where: str = "", section: str = ""
) -> ModelConfig:
    """A `GPTConfig` or `KimiConfig`, by the field `kind`."""
    kinds = {"gpt": GPTConfig, "kimi": KimiConfig}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{where or 'model'}: kind={quote(kind)} must be gpt or kimi")
    return build(kinds[kind], data, overrides, where, section)


@checked
def load_model_config(name: str | Path, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model settings of a preset (`kimi-tiny`; `nanokimi presets` lists all) or of a YAML file (`my/kimi.yaml`).

    `name` is the preset or the file. Each of the `overrides` sets one value: "moe.top_k=4", or "top_k=4" where only
    one section has the field. Raises `ConfigError` with one line that says what is wrong.

    >>> from nanokimi import load_model_config
    >>> load_model_config("kimi-tiny", ["top_k=4"]).moe.top_k
    4
    """
    return build_model_config(read_settings(name, "model"), overrides, str(name))


@checked
def load_train_config(name: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The training settings of a preset (`train-tiny`) or of a YAML file (`my/train.yaml`).

    `name` and `overrides` are as in `load_model_config`. Raises `ConfigError` as it does.

    >>> from nanokimi import load_train_config
    >>> load_train_config("train-tiny", ["steps=50", "optimizer=muon"]).steps
    50
    """
    return build(TrainConfig, read_settings(name, "training"), overrides, str(name))


# ---------------------------------------------------------------- overrides


def setting_names(cls: type) -> set[str]:
    """Every field of `cls` and of the sections inside it."""
    return {f.name for f in fields(cls)}.union(*map(setting_names, sections(cls).values()))


def _paths_to(cls: type, name: str) -> list[list[str]]:
    """Every way from `cls` down to a field called `name`, the nearest first."""
    here = [[name]] if name in {f.name for f in fields(cls)} else []
    return here + [[s, *path] for s, sub in sections(cls).items() for path in _paths_to(sub, name)]


def _call(override: str, section: str) -> str:
    """The override as whoever gave it wrote it."""
    return f"--set {quote(f'{section}.{override}')}" if section else f"override {quote(override)}"


def _override(cls: type, data: dict[str, Any], text: str, section: str) -> dict[str, Any]:
    """The data with `moe.top_k=4`, or `top_k=4` where only one section has the field."""
    name, equals, value = text.partition("=")
    if not equals or "" in name.strip().split("."):
        form = f"{section}.name=value" if section else "name=value"
        raise ConfigError(f"{_call(text, section)} must look like {form}")
    *head, last = name.strip().split(".")
    paths = [p for p in _paths_to(cls, last) if [s for s in p[:-1] if s in head] == head]
    if not paths:
        raise ConfigError(
            f"{quote(name.strip())[1:-1]} is not a setting of {cls.__name__}; "
            f"{nearest(last, sorted(setting_names(cls)))}"
        )
    path = min(paths, key=len)
    others = [p for p in paths if len(p) == len(path)]
    if len(others) > 1:
        choices = " or ".join(".".join(p) for p in others)
        raise ConfigError(f"{name.strip()} is ambiguous: say {choices}")
    called = _call(text, section)
    parsed = parse(value, f"{called}: {quote(value)}")
    changed = part = dict(data)
    for inner in path[:-1]:
        inside = part.get(inner) or {}
        if not isinstance(inside, dict):
            raise ConfigError(f"{called}: {inner}={quote(inside)} is a value, not a section")
        part[inner] = part = dict(inside)
    part[path[-1]] = parsed
    return changed
