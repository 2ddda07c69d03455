"""Configurations from and to YAML: presets by name, files of yours, and `name=value` overrides.

``load_model_config("kimi-tiny", ["top_k=4"])``, ``load_train_config("my/train.yaml")``.
Whatever is wrong raises `ConfigError` with one line that names the field, its value and what is allowed.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from nanokimi.config import ConfigError, GPTConfig, KimiConfig, ModelConfig, TrainConfig

PRESETS = Path(__file__).parent
T = TypeVar("T")

# What pydantic calls a value out of range, and what is allowed.
_RANGES = {
    "greater_than": "above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "below {lt:g}",
    "less_than_equal": "{le:g} or less",
    "multiple_of": "a multiple of {multiple_of}",
}


def preset_names(prefix: str = "") -> list[str]:
    """The names of the shipped presets that start with `prefix`, sorted."""
    return sorted(p.stem for p in PRESETS.glob("*.yaml") if p.stem.startswith(prefix))


def read_yaml(name: str | Path) -> dict[str, Any]:
    """The settings in a preset (`kimi-tiny`) or in a YAML file of yours (`my/kimi.yaml`)."""
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if path.parent == PRESETS and path.stem not in preset_names():
        raise ConfigError(
            f"preset {str(name)!r} does not exist; {nearest(str(name), preset_names())} "
            "(`nanokimi presets` lists all; a file of yours ends in .yaml)"
        )
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"file {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"file {path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"file {path} must hold `name: value` lines, not {type(data).__name__}")
    for key in data:
        if not isinstance(key, str):
            raise ConfigError(f"file {path}: {key!r} is not a setting: names are words")
    return data


def build(cls: type[T], data: dict[str, Any], overrides: Sequence[str] = (), where: str = "") -> T:
    """`cls` from plain data and `name=value` overrides; raises `ConfigError` in one line."""
    data = dict(data)
    for text in overrides:
        _override(cls, data, text)
    _refuse_misread(cls, data, f"{where}: " if where else "")
    try:
        return cls(**data)
    except (ValidationError, TypeError) as error:
        raise ConfigError(_one_line(cls, error, where)) from None


def build_model_config(data: dict[str, Any], overrides: Sequence[str] = (), where: str = "") -> ModelConfig:
    """A `GPTConfig` or `KimiConfig`, by the field `kind`."""
    kinds = {"gpt": GPTConfig, "kimi": KimiConfig}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f"{where or 'model'}: kind={kind!r} must be gpt or kimi")
    return build(kinds[kind], data, overrides, where)


def load_model_config(name: str | Path, overrides: Sequence[str] = ()) -> ModelConfig:
    """The model settings of a preset (`kimi-tiny`; `nanokimi presets` lists all) or of a YAML file (`my/kimi.yaml`).

    `name` is the preset or the file. Each of the `overrides` sets one value: "moe.top_k=4", or "top_k=4" where only
    one section has the field. Raises `ConfigError` with one line that says what is wrong.

    >>> from nanokimi import load_model_config
    >>> load_model_config("kimi-tiny", ["top_k=4"]).moe.top_k
    4
    """
    return build_model_config(read_yaml(name), overrides, str(name))


def load_train_config(name: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The training settings of a preset (`train-tiny`) or of a YAML file (`my/train.yaml`).

    `name` and `overrides` are as in `load_model_config`. Raises `ConfigError` as it does.

    >>> from nanokimi import load_train_config
    >>> load_train_config("train-tiny", ["steps=50", "optimizer=muon"]).steps
    50
    """
    return build(TrainConfig, read_yaml(name), overrides, str(name))


# ---------------------------------------------------------------- overrides and messages


def _sections(cls: type) -> dict[str, type]:
    """The fields of `cls` that are configurations themselves."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        found.update((name, option) for option in options if is_dataclass(option))
    return found


def _names(cls: type) -> set[str]:
    """Every field of `cls` and of the sections inside it."""
    return {f.name for f in fields(cls)}.union(*map(_names, _sections(cls).values()))


def _paths_to(cls: type, name: str) -> list[list[str]]:
    """Every way from `cls` down to a field called `name`, the nearest first."""
    here = [[name]] if name in {f.name for f in fields(cls)} else []
    return here + [[s, *path] for s, sub in _sections(cls).items() for path in _paths_to(sub, name)]


def _override(cls: type, data: dict[str, Any], text: str) -> None:
    """Apply `moe.top_k=4`, or `top_k=4` where only one section has the field, to plain data in place."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"override {text!r} must look like name=value")
    *head, last = name.strip().split(".")
    paths = [p for p in _paths_to(cls, last) if [s for s in p[:-1] if s in head] == head]
    if not paths:
        raise ConfigError(
            f"{name.strip()} is not a setting of {cls.__name__}; {nearest(last, sorted(_names(cls)))}"
        )
    path = min(paths, key=len)
    others = [p for p in paths if len(p) == len(path)]
    if len(others) > 1:
        choices = " or ".join(".".join(p) for p in others)
        raise ConfigError(f"{name.strip()} is ambiguous: say {choices}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"override {text!r}: {value!r} is not a value") from None
    for section in path[:-1]:
        inside = data.get(section) or {}
        if not isinstance(inside, dict):
            raise ConfigError(f"override {text!r}: {section}={inside!r} is a value, not a section")
        data[section] = data = dict(inside)
    data[path[-1]] = parsed


def _refuse_misread(cls: type, data: dict[Any, Any], where: str) -> None:
    """YAML reads a bare `yes` as True, which Python would take for the number 1, and `1:` as a number."""
    hints, sections = typing.get_type_hints(cls), _sections(cls)
    for name, value in data.items():
        if not isinstance(name, str):
            raise ConfigError(f"{where}{name!r} is not a setting: names are words")
        if isinstance(value, bool) and name in hints and hints[name] is not bool:
            raise ConfigError(f"{where}{name}={value}: a yes or no is not allowed here")
        if isinstance(value, dict) and name in sections:
            _refuse_misread(sections[name], value, f"{where}{name}.")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error message: the known name that is nearest, or all that are known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def _one_line(cls: type, error: Exception, where: str) -> str:
    """A pydantic error as one line: the first problem, with the field's path and value."""
    prefix = f"{where}: " if where else ""
    if not isinstance(error, ValidationError):
        return prefix + " ".join(str(error).split())
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    field = ".".join(path)
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        for section in path[:-1]:
            cls = _sections(cls).get(section, cls)
        return f"{prefix}{field} is not a setting; {nearest(path[-1], [f.name for f in fields(cls)])}"
    if first["type"] == "value_error":
        # pydantic puts "Value error, " in front of what a check of ours said.
        return f"{prefix}{field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
    named = f"{prefix}{field}={first['input']!r}"
    if first["type"] in _RANGES:
        return f"{named} must be {_RANGES[first['type']].format(**first.get('ctx', {}))}"
    return f"{named}: {first['msg'][0].lower()}{first['msg'][1:]}"
