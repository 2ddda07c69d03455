"""Whether a step is compiled: by its setting, its device, and what this machine has for it."""

import pytest
import torch

from nanokimi.compiled.choice import choose_compile
from nanokimi.config import ConfigError
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


@pytest.fixture(params=[True, False], ids=["a compiler", "no compiler"])
def has_compiler(request, monkeypatch):
    monkeypatch.setenv("CXX", "my-c++")
    monkeypatch.setattr("shutil.which", lambda name: name if request.param and name == "my-c++" else None)
    return request.param


@pytest.mark.parametrize("device", [CPU, CUDA, MPS], ids=str)
def test_auto_compiles_on_cuda_where_that_can_be(has_compiler, device):
    assert choose_compile("auto", device) == (has_compiler and device == CUDA)
    assert not choose_compile("off", device)


@pytest.mark.parametrize("device", [CPU, CUDA, MPS], ids=str)
def test_on_compiles_or_says_what_is_lacking(has_compiler, device):
    if has_compiler and device != MPS:
        assert choose_compile("on", device)
        return
    lack = "this machine has no C++ compiler my-c++, which the environment variable CXX may name"
    with pytest.raises(ConfigError) as error:
        choose_compile("on", device)
    lack = "not for device=mps" if device == MPS else lack
    assert str(error.value) == f"compile=on: {lack}; use compile=off or auto"


def test_a_training_without_a_compiler_is_refused_before_its_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: None)
    training = train(build_model(tiny.gpt()), tiny.corpus(), tiny.train_config(compile="on"), tmp_path / "a")
    with pytest.raises(ConfigError, match="compile=on: this machine has no C\\+\\+ compiler"):
        next(training)
    assert not (tmp_path / "a").exists()
