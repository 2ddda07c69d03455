"""Presets, files and overrides: what they mean, and the one line that a mistake in them gives."""

from typing import Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from nanokimi.config import ConfigError, DataConfig, GPTConfig, KimiConfig, OptimConfig, TrainConfig, to_dict
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

MODELS = [name for name in preset_names() if not name.startswith(("train-", "bench-"))]
TRAININGS = preset_names("train-")


def to_yaml(cfg: object) -> str:
    return yaml.safe_dump(to_dict(cfg), sort_keys=False)


def one_line(call, *args) -> str:
    with pytest.raises(ConfigError) as refused:
        call(*args)
    assert "\n" not in str(refused.value)
    return str(refused.value)


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
        assert value == getattr(cfg, field) or isinstance(value, dict)


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


# ---------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("d_model=256", lambda c: c.d_model == 256),
        ("moe.top_k=4", lambda c: c.moe.top_k == 4),
        ("top_k=4", lambda c: c.moe.top_k == 4),
        (" top_k = 4", lambda c: c.moe.top_k == 4),
        ("rope.yarn.factor=8", lambda c: c.rope.yarn.factor == 8.0),
        ("factor=8", lambda c: c.rope.yarn.factor == 8.0),
        ("yarn.factor=8", lambda c: c.rope.yarn.factor == 8.0),
        ("norm_eps=1e-5", lambda c: c.norm_eps == 1e-5),  # YAML 1.1 reads this as text
        ("moe.norm_topk_prob=false", lambda c: c.moe.norm_topk_prob is False),
        ("routed_scaling_factor=null", lambda c: c.moe.routed_scaling_factor is None),
        ("moe=null", lambda c: c.moe is None),
    ],
)
def test_override_sets_the_field_and_nothing_else(override, read):
    before, after = load_model_config("kimi-tiny"), load_model_config("kimi-tiny", [override])
    assert read(after)
    changed = override.partition("=")[0].strip().split(".")[-1]

    def rest(value):
        if isinstance(value, dict):
            return {k: rest(v) for k, v in value.items() if k not in (changed, "yarn")}
        return value

    assert rest(to_dict(after)) == rest(to_dict(before))


def test_overrides_apply_in_order_and_leave_the_data_alone():
    data = {"steps": 50, "optim": {"lr": 0.1}}
    cfg = build(TrainConfig, data, ["lr=0.2", "steps=60", "optim.lr=0.3", "optimizer=muon"])
    assert (cfg.steps, cfg.optim.lr, cfg.optim.optimizer) == (60, 0.3, "muon")
    assert data == {"steps": 50, "optim": {"lr": 0.1}}


def test_the_nearest_field_wins_and_a_section_can_be_named():
    """TrainConfig has no seed below the top; a field of the top hides one of the same name below."""

    @dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    class Part:
        size: int = 1
        width: int = 1

    @dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    class Whole:
        size: int = 0
        left: Part = Part()
        right: Part | None = None

    assert build(Whole, {}, ["size=5"]) == Whole(size=5)
    assert build(Whole, {}, ["left.size=5"]) == Whole(left=Part(size=5))
    assert build(Whole, {}, ["right.width=5"]) == Whole(right=Part(width=5))
    assert one_line(build, Whole, {}, ["width=5"]) == "width is ambiguous: say left.width or right.width"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("", "override '' must look like name=value"),
        ("top_k", "override 'top_k' must look like name=value"),
        ("moe.topk=4", "moe.topk is not a setting of KimiConfig; did you mean top_k?"),
        ("mla.top_k=4", "mla.top_k is not a setting of KimiConfig; did you mean top_k?"),
        ("n_head=4", "n_head is not a setting of KimiConfig; did you mean n_heads?"),
        ("rope.yarn.factors=4", "rope.yarn.factors is not a setting of KimiConfig; did you mean factor?"),
        ("d_model=[1", "override 'd_model=[1': '[1' is not a value"),
        (
            "d_model=wide",
            "kimi-tiny: d_model='wide': input should be a valid integer, unable to parse string as an integer",
        ),
        ("d_model=", "kimi-tiny: d_model=None: input should be a valid integer"),
        (
            "moe.top_k=2.5",
            "kimi-tiny: moe.top_k=2.5: input should be a valid integer, got a number with a fractional part",
        ),
        ("top_k=17", "kimi-tiny: moe: top_k=17 must lie in 1..n_routed_experts=16"),
        ("scoring=relu", "kimi-tiny: moe.scoring='relu': input should be 'sigmoid' or 'softmax'"),
        ("kind=gpt", "kimi-tiny: kind='gpt': input should be 'kimi'"),
    ],
)
def test_bad_override_is_told_in_one_line(override, message):
    assert one_line(load_model_config, "kimi-tiny", [override]) == message


def test_an_unlike_name_gets_the_whole_list():
    line = one_line(load_model_config, "gpt-tiny", ["qqq=1"])
    assert line == (
        "qqq is not a setting of GPTConfig; known: d_model, kind, max_seq_len, n_heads, n_layers, vocab_size"
    )


@pytest.mark.parametrize("value", ["yes", "true", "off"])
def test_a_yes_is_no_number(value):
    """YAML reads these as booleans, and Python would read those as 0 and 1."""
    assert one_line(load_train_config, "train-tiny", [f"eval_every={value}"]).startswith(
        "train-tiny: eval_every="
    )


def test_override_inside_what_is_no_section():
    line = one_line(build, TrainConfig, {"optim": 3}, ["lr=0.1"])
    assert line == "override 'lr=0.1': optim=3 is a value, not a section"


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
    assert one_line(load_model_config, "train-tiny") == "train-tiny: kind=None must be gpt or kimi"
    assert one_line(load_train_config, "gpt-tiny").startswith(
        "gpt-tiny: kind is not a setting; known: steps, "
    )


def test_missing_file(tmp_path):
    path = tmp_path / "none.yaml"
    assert one_line(load_train_config, str(path)) == f"file {path} does not exist"


@pytest.mark.parametrize(
    "text", ["steps: [1", "a: b: c", "\tsteps: 3", b"steps: \xff\xfe", "!!python/object:os.system {}"]
)
def test_unreadable_yaml(file, text):
    path = file(text)
    assert one_line(load_train_config, path).startswith(f"file {path} cannot be read as YAML: ")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot be read" in one_line(load_train_config, str(tmp_path / "folder.yaml"))


@pytest.mark.parametrize(
    ("text", "kind"), [("", "NoneType"), ("- steps", "list"), ("steps", "str"), ("3", "int")]
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
        ("optim: 3", "optim=3: input should be a dictionary"),
        ("steps: many", "steps='many': input should be a valid integer"),
        ('optim: {lr: "a\\nb"}', "optim.lr='a\\nb': input should be a valid number"),
        ("optim: {1: 2}", "optim.1 is not a setting: names are words"),
        ("optim: {lr: yes}", "optim.lr=True: a yes or no is not allowed here"),
    ],
)
def test_mistakes_in_a_file_name_file_and_field(file, text, message):
    path = file(text)
    assert one_line(load_train_config, path).startswith(f"{path}: {message}")


def test_a_number_is_no_name(file):
    path = file("1: 2")
    assert one_line(load_train_config, path) == f"file {path}: 1 is not a setting: names are words"


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
    assert one_line(build, OnlyLiterals, {}, ["mode=c"]) == "mode='c': input should be 'a' or 'b'"


def test_nearest_names_one_that_is_near_or_all():
    assert nearest("kimmi", ["gpt", "kimi"]) == "did you mean kimi?"
    assert nearest("zzz", ["gpt", "kimi"]) == "known: gpt, kimi"
