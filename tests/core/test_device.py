"""The device and the number format that a configuration asks for, on machines with and without CUDA."""

import pytest
import torch

from nanokimi.config import ConfigError
from nanokimi.device import autocast, choose_device, choose_dtype
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def refuse(call) -> str:
    with pytest.raises(ConfigError) as error:
        call()
    return str(error.value)


def train_a_step(**changes):
    return next(train(build_model(tiny.gpt()), tiny.corpus(), tiny.train_config(**changes)))


def test_a_machine_without_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU
    line = "device=cuda: this machine offers no CUDA device; use device=cpu or auto"
    assert refuse(lambda: choose_device("cuda")) == line
    assert refuse(lambda: train_a_step(device="cuda")) == line


def test_a_machine_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(name).type for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", CPU, torch.float32),
        ("float32", CPU, torch.float32),
        ("auto", CUDA, torch.bfloat16),
        ("bfloat16", CUDA, torch.bfloat16),
        ("float32", CUDA, torch.float32),
    ],
)
def test_the_number_format(monkeypatch, name, device, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_dtype(name, device) == dtype


def test_a_cuda_device_without_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert choose_dtype("auto", CUDA) == choose_dtype("float32", CUDA) == torch.float32
    line = "dtype=bfloat16: this CUDA device does not compute in it; use dtype=float32 or auto"
    assert refuse(lambda: choose_dtype("bfloat16", CUDA)) == line


def test_bfloat16_on_a_cpu_is_refused():
    line = "dtype=bfloat16 needs device=cuda; on a CPU use dtype=float32 or auto"
    assert refuse(lambda: choose_dtype("bfloat16", CPU)) == line
    assert refuse(lambda: train_a_step(dtype="bfloat16")) == line


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_run_in_the_format_and_weights_stay_in_float32(dtype):
    layer = torch.nn.Linear(2, 2)
    with autocast(CPU, dtype):
        assert layer(torch.ones(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32 == layer(torch.ones(1, 2)).dtype


def test_float32_changes_nothing_of_a_surrounding_block():
    with autocast(CPU, torch.bfloat16), autocast(CPU, torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
