"""Which sizes a notebook runs at."""

import pytest
import torch

from lab_utils.machine.profile import profiles, resolve_profile
from nanokimi.config import ConfigError


def test_the_profiles():
    assert sorted(profiles()) == ["cpu", "gpu", "smoke"]


def test_the_environment_chooses_the_profile_over_the_literal(monkeypatch):
    monkeypatch.setenv("NANOKIMI_PROFILE", "smoke")
    assert resolve_profile("cpu") == "smoke"
    monkeypatch.delenv("NANOKIMI_PROFILE")
    assert resolve_profile("cpu") == "cpu"


@pytest.mark.parametrize(("cuda", "profile"), [(True, "gpu"), (False, "cpu")])
def test_auto(monkeypatch, cuda, profile):
    monkeypatch.delenv("NANOKIMI_PROFILE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert resolve_profile("auto") == profile


def test_gpu_needs_cuda(monkeypatch):
    monkeypatch.setenv("NANOKIMI_PROFILE", "gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device; use cpu or smoke"):
        resolve_profile()
