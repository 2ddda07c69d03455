"""Memory that is short: refused before anything is built, explained where it runs out, and the folder stays free."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nanokimi.cli import memory
from nanokimi.config import ConfigError, GPTConfig, TrainConfig
from nanokimi.presets.yaml_config import load_model_config, load_train_config, preset_names
from tests.cli.conftest import COMMAND, SMALL

GB = 10**9


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", 10**6, "train.batch_size=1000000 and train.seq_len=256 take "),
        ("seq_len", 10**9, "try train.batch_size=1 with train.seq_len="),
        pytest.param("n_layers", 1000, "take a smaller model", marks=pytest.mark.slow),
        ("d_model", 10**6, "take a smaller model"),
        ("vocab_size", 10**6, "take a smaller model"),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_built(name, value, expected, monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 25 * GB)
    model, training = GPTConfig(), TrainConfig()
    if hasattr(model, name):
        model = GPTConfig(**{"d_model": 2048, "n_heads": 1, name: value})
    else:
        training = TrainConfig(**{name: value})
    with pytest.raises(ConfigError, match=r"this machine has 25\.0 GB") as refused:
        memory.check_memory(model, training)
    assert expected in str(refused.value)


def test_what_is_advised_fits_and_keeps_the_batch(monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: GB)
    with pytest.raises(
        ConfigError, match=r"try train.batch_size=(\d+) with train.grad_accum=(\d+)"
    ) as refused:
        memory.check_memory(GPTConfig(), TrainConfig(batch_size=100_000))
    batch, times = map(int, re.findall(r"=(\d+)", str(refused.value))[-2:])
    memory.check_memory(GPTConfig(), TrainConfig(batch_size=batch))
    assert batch * times >= 100_000 > batch * (times - 1)


def test_every_preset_that_trains_on_a_cpu_is_let_through(monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 2 * GB)
    for name in preset_names("kimi-tiny") + preset_names("gpt-tiny"):
        memory.check_memory(load_model_config(name), load_train_config("train-tiny"))


SHORTAGES = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20000000000 bytes"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried ..."
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to ..."
    ),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
def test_running_out_names_the_sizes_and_what_takes_half(error, run, text: Path, monkeypatch) -> None:
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["nanokimi.train"], "take_step", fail)
        code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a")
    assert code == 2
    line = err.replace("\r", "\n").strip().splitlines()[-1]
    assert line == (
        "nanokimi: out of memory with train.batch_size=8 and train.seq_len=64: "
        "try train.batch_size=4 with train.grad_accum=2, or train.recompute=true, or take a smaller model"
    )
    assert not Path("out").exists()


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.explain_shortage(TrainConfig()):
        raise RuntimeError("shapes differ")


def limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (5 * GB, 5 * GB))


def test_a_real_shortage_is_one_line_and_the_folder_is_free(run, text: Path) -> None:
    sets = ["--set=train.batch_size=16000", "--set=train.warmup_steps=0", f"--data={text}", "--out=out/a"]
    done = subprocess.run(
        [*COMMAND, "train", *SMALL, *sets], capture_output=True, text=True, preexec_fn=limit_memory
    )
    line = done.stderr.replace("\r", "\n").strip().splitlines()[-1]
    assert done.returncode == 2, line
    assert line.startswith(
        "nanokimi: out of memory with train.batch_size=16000 and train.seq_len=64: try train.b"
    )
    assert not Path("out").exists()
    assert run("train", *SMALL, f"--data={text}", "--out=out/a")[0] == 0


@pytest.mark.parametrize("words", [["--set=train.dtype=bfloat16"], [f"--set=train.seed={2**70}"]])
def test_a_start_that_is_refused_leaves_the_folder_free(words: list[str], run, text: Path) -> None:
    code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a", "--device=cpu", *words)
    assert code == 2, err
    assert not Path("out").exists()
