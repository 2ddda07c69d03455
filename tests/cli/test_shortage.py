"""Memory that is short: refused before anything is built, explained where it runs out, and the folder stays free."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nanokimi.cli import memory
from nanokimi.config import ConfigError, GPTConfig, TrainConfig
from nanokimi.model import build_model
from nanokimi.optim import build_optimizers
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


@pytest.mark.parametrize("preset", ["kimi-k2", "deepseek-v3", "moonlight-16b", "kimi-linear-48b"])
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_a_published_size_is_refused_in_one_line_before_the_text_is_made(
    preset, layout, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "memory_limit", lambda: 25 * GB)
    code, out, err = run("train", f"--model={preset}", f"--layout={layout}")
    line = err.splitlines()[-1]
    assert (code, out) == (2, "") and "but this machine has 25.0 GB: take a smaller model" in line
    assert list(tmp_path.iterdir()) == []
    # Muon keeps one number for each weight, and AdamW two.
    said = float(line.split(" GB or more to train")[0].split()[-1].replace(",", ""))
    parameters = int(line.split(" parameters")[0].split()[-1].replace(",", ""))
    assert 12 * parameters <= said * GB + 0.05 * GB and said * GB <= 16 * parameters


@pytest.mark.parametrize(("name", "training"), [("gpt-smoke", "train-smoke"), ("kimi-smoke", "train-kimi")])
def test_weights_gradients_and_momenta_are_as_many_bytes_as_a_step_leaves(
    name, training, monkeypatch
) -> None:
    """An oracle: the tensors themselves, after a step of the real optimizers."""
    cfg, model = load_train_config(training), build_model(load_model_config(name))
    optimizers = build_optimizers(model, cfg.optim)
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    for each in optimizers:
        each.step()
    states = [t for each in optimizers for kept in each.state.values() for t in kept.values()]
    held = [t for p in model.parameters() for t in (p, p.grad)] + [t for t in states if t.numel() > 1]
    needed = sum(t.numel() * t.element_size() for t in held)
    monkeypatch.setattr(memory, "memory_limit", lambda: needed - 1)
    with pytest.raises(ConfigError, match="take a smaller model"):
        memory.check_memory(model.cfg, cfg)
    monkeypatch.setattr(memory, "memory_limit", lambda: needed)
    with pytest.raises(ConfigError, match="batch_size"):
        memory.check_memory(model.cfg, cfg)


def test_a_rank_of_a_sharded_model_holds_a_part_but_builds_it_whole(monkeypatch) -> None:
    model, training = GPTConfig(d_model=1024, n_heads=1), TrainConfig(batch_size=1, seq_len=8)
    weights = 4 * sum(each.size for each in memory.list_weights(model, training.optim))
    for limit, n_ranks in ((3 * weights, 1), (weights - 1, 100)):
        monkeypatch.setattr(memory, "memory_limit", lambda limit=limit: limit)
        with pytest.raises(ConfigError, match="take a smaller model"):
            memory.check_memory(model, training, n_ranks)
    monkeypatch.setattr(memory, "memory_limit", lambda: 3 * weights)
    memory.check_memory(model, training, 4)


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


def test_a_real_shortage_is_explained() -> None:
    with (
        pytest.raises(ConfigError, match=r"^out of memory with train\.batch_size="),
        memory.explain_shortage(TrainConfig()),
    ):
        torch.empty(2**55, dtype=torch.uint8)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.explain_shortage(TrainConfig()):
        raise RuntimeError("shapes differ")


def limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (5 * GB, 5 * GB))


def test_a_batch_that_does_not_fit_is_one_line_and_the_folder_is_free(run, text: Path) -> None:
    sets = ["--set=train.batch_size=16000", "--set=train.warmup_steps=0", f"--data={text}", "--out=out/a"]
    done = subprocess.run(
        [*COMMAND, "train", *SMALL, *sets], capture_output=True, text=True, preexec_fn=limit_memory
    )
    line = done.stderr.replace("\r", "\n").strip().splitlines()[-1]
    assert done.returncode == 2, line
    said = "train.batch_size=16000 and train.seq_len=64 take 7.8 GB or more, but this machine has 5.0 GB: try train.b"
    assert line.startswith(f"nanokimi: {said}")
    assert not Path("out").exists()
    assert run("train", *SMALL, f"--data={text}", "--out=out/a")[0] == 0


@pytest.mark.parametrize("words", [["--set=train.dtype=bfloat16"], [f"--set=train.seed={2**70}"]])
def test_a_start_that_is_refused_leaves_the_folder_free(words: list[str], run, text: Path) -> None:
    code, _, err = run("train", *SMALL, f"--data={text}", "--out=out/a", "--device=cpu", *words)
    assert code == 2, err
    assert not Path("out").exists()
