"""Profiles: the sizes at which a notebook or a benchmark runs (smoke, cpu or gpu)."""

from __future__ import annotations

import os

import torch

from nanokimi.config import ConfigError
from nanokimi.presets.yaml_config import nearest, preset_names


def profiles() -> list[str]:
    """The profiles that have a preset: cpu, gpu, smoke."""
    return [name.removeprefix("bench-") for name in preset_names("bench-")]


def check_profile(name: str) -> str:
    """The profile `name`; auto becomes gpu where CUDA is available, else cpu. `ConfigError` where it cannot run."""
    if name == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if name not in profiles():
        raise ConfigError(f"profile={name!r} does not exist; {nearest(name, ['auto', *profiles()])}")
    if name == "gpu" and not torch.cuda.is_available():
        raise ConfigError("profile='gpu': this machine has no CUDA device; use cpu or smoke")
    return name


def resolve_profile(literal: str = "auto") -> str:
    """The profile to run: the environment variable NANOKIMI_PROFILE if it is set, else `literal`.

    This is how tests and `make bench` choose a notebook's sizes without editing it.
    """
    return check_profile(os.environ.get("NANOKIMI_PROFILE") or literal)
