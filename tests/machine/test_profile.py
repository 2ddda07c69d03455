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


@pytest.mark.parametrize(
    ("profile", "line"),
    [
        (3, "resolve_profile: profile=3 must be text"),
        (None, "resolve_profile: profile=None must be text"),
        (["smoke"], "resolve_profile: profile=['smoke'] must be text"),
        ("smok\x1b", r"profile='smok\x1b' does not exist; did you mean smoke?"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(monkeypatch, profile, line):
    monkeypatch.delenv("NANOKIMI_PROFILE")
    with pytest.raises(ConfigError) as refused:
        resolve_profile(profile)
    assert str(refused.value) == line
