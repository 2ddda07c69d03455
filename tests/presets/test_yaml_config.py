"""Presets, files and overrides: what they mean, and the one line that a mistake in them gives."""

from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from nanokimi.config import DataConfig, GPTConfig, KimiConfig, OptimConfig, TrainConfig, to_dict
from nanokimi.presets.yaml_config import (
    build,
    build_model_config,
    load_model_config,
    load_train_config,
    nearest,
    preset_names,
    read_yaml,
)
from tests import tiny
from tests.presets.refusals import one_line

MODELS = [name for name in preset_names() if not name.startswith(("train-", "bench-", "study-"))]
TRAININGS = preset_names("train-")


def to_yaml(cfg: object) -> str:
    return yaml.safe_dump(to_dict(cfg), sort_keys=False)


@pytest.fixture
def file(tmp_path):
    """Writes text to a YAML file and names it."""

    def write(text: str | bytes, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


# ---------------------------------------------------------------- presets


def test_presets_of_every_kind_are_there():
    assert {"gpt-tiny", "kimi-tiny", "kimi-k2"} <= set(MODELS)
    assert {"train-tiny", "train-smoke"} <= set(TRAININGS)
    assert preset_names("gpt-") == [name for name in preset_names() if name.startswith("gpt-")]


@pytest.mark.parametrize("name", MODELS)
def test_model_preset_builds_and_survives_yaml(name, file):
    cfg = load_model_config(name)
    assert isinstance(cfg, GPTConfig if name.startswith("gpt-") else KimiConfig)
    assert load_model_config(file(to_yaml(cfg))) == cfg
    assert build_model_config(to_dict(cfg)) == cfg
    # What the file says is what the model gets.
    for field, value in read_yaml(name).items():
        assert value == to_dict(cfg)[field] or isinstance(value, dict)


@pytest.mark.parametrize("name", TRAININGS)
def test_training_preset_builds_and_survives_yaml(name, file):
    cfg = load_train_config(name)
    assert load_train_config(file(to_yaml(cfg))) == cfg
    assert build(TrainConfig, to_dict(cfg)) == cfg


@pytest.mark.parametrize("name", preset_names("bench-"))
def test_every_arm_of_a_bench_preset_names_what_there_is(name):
    """Its text, its model and training presets, and its overrides all build."""
    bench = read_yaml(name)
    data = build(DataConfig, bench["data"])
    assert set(bench["default"]) <= set(bench["arms"])
    for arm in bench["arms"].values():
        model, train = load_model_config(arm["model"]), load_train_config(bench["train"], arm["set"])
        assert train.seq_len <= model.max_seq_len
        assert data.vocab_size <= model.vocab_size


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lr=st.floats(1e-30, 1e10),
    seed=st.integers(-(2**40), 2**40),
    tau=st.none() | st.floats(1e-9, 1e9),
    optimizer=st.sampled_from(["adamw", "muon"]),
)
def test_numbers_survive_yaml_exactly(lr, seed, tau, optimizer):
    cfg = TrainConfig(seed=seed, qk_clip_tau=tau, optim=OptimConfig(lr=lr, optimizer=optimizer))
    assert build(TrainConfig, yaml.safe_load(to_yaml(cfg))) == cfg


# ---------------------------------------------------------------- names and files


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kimi-tinny", "did you mean kimi-tiny?"),
        ("gpt_tiny", "did you mean gpt-tiny?"),
        ("xyzzy", "known: bench-cpu, "),
    ],
)
def test_unknown_preset_gets_the_nearest_name(name, hint):
    line = one_line(load_model_config, name)
    assert line.startswith(f"preset {name!r} does not exist; {hint}")
    assert "ends in .yaml" in line


def test_a_preset_of_the_other_kind_is_refused():
    trainings = "training presets are train-kimi, train-shakespeare, train-small, train-smoke, train-tiny"
    line = one_line(load_model_config, "train-tiny")
    assert line.startswith(
        "train-tiny is a training preset; model presets are deepseek-v3, gpt-shakespeare, "
    )
    assert one_line(load_train_config, "gpt-tiny") == f"gpt-tiny is a model preset; {trainings}"
    assert one_line(load_train_config, "bench-cpu") == f"bench-cpu is a benchmark preset; {trainings}"
    assert one_line(load_model_config, "bench-cpu").startswith(
        "bench-cpu is a benchmark preset; model presets"
    )


def test_a_file_of_the_other_kind_is_refused(file):
    path = file(to_yaml(tiny.kimi()))
    assert one_line(load_train_config, path).startswith(
        f"{path} holds the settings of a model; training presets"
    )
    path = file("steps: 3")
    assert one_line(load_model_config, path).startswith(
        f"{path} holds the settings of a training; model presets"
    )


def test_missing_file(tmp_path):
    path = tmp_path / "none.yaml"
    assert one_line(load_train_config, str(path)) == f"file {path} does not exist"


@pytest.mark.parametrize(
    "text", ["steps: [1", "a: b: c", "\tsteps: 3", "a: \x1b[2J", "!!python/object:os.system {}"]
)
def test_unreadable_yaml(file, text):
    path = file(text)
    assert one_line(load_train_config, path).startswith(f"file {path} cannot be read as YAML: line 1: ")


@pytest.mark.parametrize(
    ("text", "kind"), [("", "nothing"), ("- steps", "a list"), ("steps", "only 'steps'"), ("3", "only 3")]
)
def test_yaml_without_names(file, text, kind):
    path = file(text)
    assert one_line(load_train_config, path) == f"file {path} must hold `name: value` lines, not {kind}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step: 3", "step is not a setting; did you mean steps?"),
        ("Steps: 3", "Steps is not a setting; did you mean steps?"),
        ("optim: {learning_rat: 3}", "optim.learning_rat is not a setting; known: optimizer, lr, "),
        ("optim: {Lr: 3}", "optim.Lr is not a setting; did you mean lr?"),
        ("optim: {beta3: 0.1}", "optim.beta3 is not a setting; did you mean beta"),
        ("optim: 3", "optim=3 must be a section"),
        ("steps: many", "steps='many' must be a whole number"),
        ('optim: {lr: "a\\nb"}', "optim.lr='a\\nb' must be a number"),
        ("optim: {lr: true}", "optim.lr=True must be a number, not a yes or no"),
        ("optim: {lr: yes}", "optim.lr='yes' must be a number"),
        ("steps: 1:30", "steps='1:30' must be a whole number"),
    ],
)
def test_mistakes_in_a_file_name_file_and_field(file, text, message):
    path = file(text)
    assert one_line(load_train_config, path).startswith(f"{path}: {message}")


@pytest.mark.parametrize("text", ["1: 2", "optim: {1: 2}", "yes: 1\n2: 3", "null: 1", "[a]: 1"])
def test_a_number_is_no_name(file, text):
    path = file(text)
    assert one_line(load_train_config, path).endswith("is not a setting: names are words")


@pytest.mark.parametrize("kind", ["", "kind: llama", "kind: [gpt]", "kind: {gpt: 1}", "kind: 3"])
def test_a_model_file_says_its_kind(file, kind):
    path = file(f"{kind}\nd_model: 8\n")
    line = one_line(load_model_config, path)
    assert line.startswith(f"{path}: kind=") and line.endswith("must be gpt or kimi")


def test_a_file_of_mine_is_read_with_overrides(file):
    path = file(to_yaml(tiny.kimi()))
    assert load_model_config(path, ["top_k=1"]).moe.top_k == 1
    assert load_model_config(path) == tiny.kimi()


def test_optional_and_literal_sections_are_found():
    """`X | None` too, and not the literals."""

    @dataclass(frozen=True, kw_only=True)
    class OnlyLiterals:
        mode: Literal["a", "b"] = "a"

    assert build(OnlyLiterals, {}, ["mode=b"]).mode == "b"
    assert one_line(build, OnlyLiterals, {}, ["mode=c"]) == "override 'mode=c': mode='c' must be 'a' or 'b'"


def test_nearest_names_one_that_is_near_or_all():
    assert nearest("kimmi", ["gpt", "kimi"]) == "did you mean kimi?"
    assert nearest("zzz", ["gpt", "kimi"]) == "known: gpt, kimi"
