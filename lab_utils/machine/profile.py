"""Profiles: the sizes at which a notebook or a benchmark runs (smoke, cpu or gpu)."""

from __future__ import annotations

import os

import torch

from nanokimi.config import ConfigError
from nanokimi.presets.yaml_config import preset_names
from nanokimi.system.checked import checked
from nanokimi.system.printable import quote
from nanokimi.system.refusals import nearest


def profiles() -> list[str]:
    """The profiles that have a preset: cpu, gpu, smoke."""
    return [name.removeprefix("bench-") for name in preset_names("bench-")]


@checked
def check_profile(profile: str) -> str:
    """The same profile; auto becomes gpu where CUDA is available, else cpu. `ConfigError` where it cannot run."""
    if profile == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if profile not in profiles():
        raise ConfigError(
            f"profile={quote(profile)} does not exist; {nearest(profile, ['auto', *profiles()])}"
        )
    if profile == "gpu" and not torch.cuda.is_available():
        raise ConfigError("profile='gpu': this machine has no CUDA device; use cpu or smoke")
    return profile


@checked
def resolve_profile(profile: str = "auto") -> str:
    """The profile to run: the environment variable NANOKIMI_PROFILE if it is set, else `profile`.

    This is how tests and `make bench` choose a notebook's sizes without editing it.
    """
    return check_profile(os.environ.get("NANOKIMI_PROFILE") or profile)
