"""A training that is not named: the one with which the benchmark trains this kind of model."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab_utils.bench.plan import make_plan
from nanokimi.config import to_dict
from nanokimi.presets.yaml_config import load_train_config

FEW = {"steps": 2, "warmup_steps": 0, "batch_size": 2, "seq_len": 32, "eval_windows": 2}
SETS = [f"--set=train.{name}={value}" for name, value in FEW.items()]


@pytest.mark.parametrize(("preset", "arm"), [("train-kimi", "kimi"), ("train-tiny", "gpt")])
def test_a_preset_has_the_settings_of_the_arm(preset: str, arm: str) -> None:
    measured = make_plan("cpu", arm).arm(arm).train
    assert replace(load_train_config(preset), device=measured.device) == measured


@pytest.mark.parametrize("kind", ["kimi", "gpt"])
def test_each_kind_of_model_is_trained_as_in_the_benchmark(kind: str, run, text: Path) -> None:
    words = [f"--model={kind}-smoke", *SETS, f"--data={text}", "--set=data.vocab_size=300", "--out=out/a"]
    assert run("train", *words)[0] == 0
    measured = make_plan("cpu", kind).arm(kind).train
    saved = yaml.safe_load(Path("out/a/run.yaml").read_text())["train"]
    assert saved == to_dict(replace(measured, device="auto", **FEW))


def test_a_file_of_ones_own_is_trained_by_its_kind_and_a_named_training_is_taken(run, text: Path) -> None:
    Path("mine.yaml").write_text(run("presets", "kimi-smoke")[1])
    words = ["--model=mine.yaml", *SETS, f"--data={text}", "--set=data.vocab_size=300"]
    assert run("train", *words, "--out=out/a")[0] == 0
    assert run("train", *words, "--train=train-tiny", "--out=out/b")[0] == 0
    found = [yaml.safe_load(Path(f"out/{each}/run.yaml").read_text())["train"]["optim"] for each in "ab"]
    assert [(each["optimizer"], each["lr"]) for each in found] == [("muon", 0.024), ("adamw", 0.003)]
