"""The device and the number format that a configuration asks for, on machines with and without CUDA."""

import importlib

import pytest
import torch

from nanokimi.config import ConfigError
from nanokimi.device import autocast, choose_device, choose_dtype
from nanokimi.model import build_model
from nanokimi.train import train
from tests import tiny

TRAIN = importlib.import_module("nanokimi.train")  # not the function of this name
CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


def refuse(call) -> str:
    with pytest.raises(ConfigError) as error:
        call()
    return str(error.value)


def train_a_step(**changes):
    return next(train(build_model(tiny.gpt()), tiny.corpus(), tiny.train_config(**changes)))


@pytest.fixture
def offer(monkeypatch):
    """A machine that offers these devices beside its CPU."""

    def offer(*names):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return offer


@pytest.mark.parametrize("others", [(), ("cuda",), ("mps",), ("cuda", "mps")])
def test_auto_is_cuda_or_else_apples_gpu_or_else_the_cpu(offer, others):
    offer(*others)
    assert choose_device("auto").type == (*others, "cpu")[0]
    assert choose_device("cpu") == CPU
    assert [choose_device(name).type for name in others] == list(others)


@pytest.mark.parametrize(("name", "other"), [("cuda", "mps"), ("mps", "cuda")])
def test_a_device_that_is_not_there_is_refused(offer, name, other):
    offer(other)
    line = f"device={name}: this machine offers no {name.upper()} device; use device=cpu or auto"
    assert refuse(lambda: choose_device(name)) == line
    assert refuse(lambda: train_a_step(device=name)) == line


@pytest.mark.parametrize("asked", ["mps", "auto"])
def test_what_apples_gpu_lacks_is_a_line_of_the_training(offer, monkeypatch, asked):
    offer("mps")
    monkeypatch.setattr(TRAIN, "choose_device", lambda name: CPU)

    def refuse_it(*_):
        raise NotImplementedError(
            "The operator 'aten::histc' is not currently implemented for the MPS device"
        )

    model = build_model(tiny.gpt())
    model.norm.register_forward_hook(refuse_it)
    training = train(model, tiny.corpus(), tiny.train_config(device=asked))
    assert refuse(lambda: next(training)) == (
        "device=mps: this torch has no aten::histc there; use device=cpu"
    )


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", CPU, torch.float32),
        ("float32", CPU, torch.float32),
        ("auto", MPS, torch.float32),
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


def test_a_training_on_a_cuda_device_without_bfloat16_is_in_float32(offer, monkeypatch):
    """Its forward pass is asked; the numbers are those of a CPU, which stands in for the card."""
    offer("cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(TRAIN, "choose_device", lambda name: CPU)
    formats = []
    monkeypatch.setattr(
        TRAIN, "choose_dtype", lambda name, _: formats.append(choose_dtype(name, CUDA)) or formats[-1]
    )
    model = build_model(tiny.gpt())
    model.layers[0].up_proj.register_forward_hook(lambda _, __, out: formats.append(out.dtype))
    next(train(model, tiny.corpus(), tiny.train_config(device="cuda")))
    assert set(formats) == {torch.float32} and len(formats) > 1


@pytest.mark.parametrize("device", [CPU, MPS], ids=str)
def test_bfloat16_elsewhere_is_refused(device):
    line = "dtype=bfloat16 needs device=cuda; elsewhere use dtype=float32 or auto"
    assert refuse(lambda: choose_dtype("bfloat16", device)) == line
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
