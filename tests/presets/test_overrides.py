"""Overrides, `name=value`: which field they set, and the one line that a mistake in them gives."""

import pytest
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from nanokimi.config import TrainConfig, to_dict
from nanokimi.presets.yaml_config import build, load_model_config, load_train_config
from tests.presets.refusals import one_line


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
        ("=4", "override '=4' must look like name=value"),
        ("top_k", "override 'top_k' must look like name=value"),
        ("moe.topk=4", "moe.topk is not a setting of KimiConfig; did you mean top_k?"),
        ("mla.top_k=4", "mla.top_k is not a setting of KimiConfig; did you mean top_k?"),
        ("n_head=4", "n_head is not a setting of KimiConfig; did you mean n_heads?"),
        ("rope.yarn.factors=4", "rope.yarn.factors is not a setting of KimiConfig; did you mean factor?"),
        (
            "d_model=[1",
            "override 'd_model=[1': '[1' cannot be read as YAML: a [ without its ]",
        ),
        (
            "d_model=wide",
            "override 'd_model=wide': d_model='wide' must be a whole number",
        ),
        ("d_model=", "override 'd_model=': d_model is empty: it must be a whole number"),
        ("d_model=1_0", "override 'd_model=1_0': d_model='1_0' must be a whole number"),
        ("d_model=٣", "override 'd_model=٣': d_model='٣' must be a whole number"),
        ("d_model='64'", "override 'd_model='64'': d_model='64' must be a whole number"),
        ("norm_eps=1_0", "override 'norm_eps=1_0': norm_eps='1_0' must be a number"),
        ("rope.=1", "override 'rope.=1' must look like name=value"),
        (".d_model=1", "override '.d_model=1' must look like name=value"),
        ("moe..top_k=1", "override 'moe..top_k=1' must look like name=value"),
        (
            "moe.top_k=2.5",
            "override 'moe.top_k=2.5': moe.top_k=2.5 must be a whole number",
        ),
        ("top_k=17", "override 'top_k=17': moe: top_k=17 must lie in 1..n_routed_experts=16"),
        ("scoring=relu", "override 'scoring=relu': moe.scoring='relu' must be 'sigmoid' or 'softmax'"),
        ("kind=gpt", "override 'kind=gpt': kind='gpt' must be 'kimi'"),
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
    """YAML 1.1 reads all of these as booleans, and Python would read those as 0 and 1."""
    assert one_line(load_train_config, "train-tiny", [f"eval_every={value}"]).startswith(
        f"override 'eval_every={value}': eval_every="
    )


@pytest.mark.parametrize(
    ("data", "overrides", "blamed"),
    [
        ({"steps": 0}, ["seed=1"], "mine.yaml: steps=0"),
        ({"steps": 5}, ["seed=1", "steps=0", "seed=2"], "override 'steps=0': steps=0"),
        # Each alone is fine: the one that came second does not fit.
        (
            {},
            ["warmup_steps=20", "steps=10"],
            "override 'steps=10': warmup_steps=20 must lie in 0..steps-1=9",
        ),
        # The first is mended by the second, which leaves the file's own mistake.
        ({"seq_len": 0}, ["steps=0", "steps=9"], "mine.yaml: seq_len=0"),
    ],
)
def test_a_mistake_is_blamed_on_what_made_it(data, overrides, blamed):
    assert one_line(build, TrainConfig, data, overrides, "mine.yaml").startswith(blamed)


def test_on_the_command_line_an_override_is_called_as_it_was_given():
    for override in ("steps=0", "steps=[", "steps", "=3"):
        line = one_line(build, TrainConfig, {}, [override], "mine.yaml", "train")
        assert line.startswith(f"--set 'train.{override}'")


def test_override_inside_what_is_no_section():
    line = one_line(build, TrainConfig, {"optim": 3}, ["lr=0.1"])
    assert line == "override 'lr=0.1': optim=3 is a value, not a section"
