"""The benchmark's presets are fair, and a wrong plan is refused with one line."""

from dataclasses import replace

import pytest

from lab_utils.bench.plan import LADDER, BenchPreset, make_plan
from nanokimi.config import ConfigError, DataConfig, to_dict
from nanokimi.count import count_parameters, flops_per_token
from nanokimi.presets.yaml_config import build, read_yaml
from nanokimi.text.corpus import load_corpus

PROFILES = ("smoke", "cpu", "gpu")
ARMS = (*LADDER, "gpt-muon")


# ---------------------------------------------------------------- fairness


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("profile", PROFILES)
def test_active_parameters_within_2_percent_and_flops_within_5(profile, arm):
    plan = make_plan(profile, "ladder")
    gpt, other = plan.arm("gpt"), plan.arm(arm)
    sizes = [count_parameters(each.model).body_active for each in (gpt, other)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    flops = [flops_per_token(each.model, each.train.seq_len) for each in (gpt, other)]
    assert flops[1] == pytest.approx(flops[0], rel=0.05)


@pytest.mark.parametrize("profile", PROFILES)
def test_arms_differ_in_optimizer_balancing_and_clipping_only(profile):
    plan = make_plan(profile, "ladder")
    assert tuple(arm.name for arm in plan.arms) == ARMS
    own = ("optim", "balance", "qk_clip_tau")
    shared = [{k: v for k, v in to_dict(arm.train).items() if k not in own} for arm in plan.arms]
    assert all(settings == shared[0] for settings in shared)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_rung_adds_what_its_name_says(profile):
    arm = {each.name: each for each in make_plan(profile, "ladder").arms}
    assert [each.model.kind for each in arm.values()] == ["gpt", *["kimi"] * 5, "gpt"]
    assert [arm[name].model.attention for name in LADDER[1:]] == ["mha", "mla", "mla", "mla", "mla"]
    assert [arm[name].model.moe is not None for name in LADDER[1:]] == [False, False, True, True, True]
    assert [arm[name].train.balance.bias_update_rate > 0 for name in ARMS] == [False] * 4 + [True] * 2 + [
        False
    ]
    assert [arm[name].train.optim.optimizer for name in ARMS] == ["adamw"] * 5 + ["muon"] * 2
    assert [arm[name].train.qk_clip_tau for name in ARMS] == [None] * 5 + [100, None]
    assert arm["kimi-moe"].model == arm["kimi-bias"].model == arm["kimi"].model
    assert arm["gpt"].model == arm["gpt-muon"].model


def test_the_default_is_gpt_and_kimi():
    assert [[arm.name for arm in make_plan(p).arms] for p in PROFILES] == [["gpt", "kimi"]] * 3


# ---------------------------------------------------------------- the plan


def test_seeds_are_the_outer_loop():
    plan = make_plan("smoke", "kimi,gpt", seeds=2)
    trials = [(arm.name, arm.train.seed) for arm in plan.trials()]
    assert trials == [("kimi", 0), ("gpt", 0), ("kimi", 1), ("gpt", 1)]


def test_data_takes_the_place_of_the_source_only():
    plan = make_plan("smoke", data="some/text.txt")
    assert plan.data == replace(make_plan("smoke").data, source="some/text.txt")


def test_vocabulary_is_the_tokenizers(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc cab " * 50)
    corpus = load_corpus(DataConfig(source=str(text), tokenizer="char", cache_dir=str(tmp_path / "cache")))
    plan = make_plan("smoke")
    sized = plan.with_vocabulary_of(corpus)
    assert [arm.model.vocab_size for arm in sized.arms] == [5, 5]  # a, b, c, space, <|endoftext|>
    assert replace(sized.arms[1].model, vocab_size=plan.arms[1].model.vocab_size) == plan.arms[1].model


# ---------------------------------------------------------------- bad input


def test_a_plan_says_which_arms_it_has():
    with pytest.raises(ConfigError, match=r"'kimmi' is no arm of this plan; did you mean kimi"):
        make_plan("smoke").arm("kimmi")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(profile="smok"), "profile='smok' does not exist; did you mean smoke?"),
        (dict(profile="../cpu"), "does not exist"),
        (dict(profile="smoke", arms="gpt,kimmi"), "'kimmi' is not an arm; did you mean kimi?"),
        (dict(profile="smoke", arms="lader"), "did you mean ladder?"),
        (dict(profile="smoke", arms=""), "'' is not an arm"),
        (dict(profile="smoke", arms="gpt,kimi,gpt"), "'gpt' is named twice"),
        (dict(profile="smoke", seeds=0), "seeds=0 must be 1 or more"),
        (dict(profile="smoke", seeds=1.5), "seeds=1.5 must be a whole number"),
        (dict(profile="smoke", seeds=True), "seeds=True must be a whole number, not a yes or no"),
        (dict(profile="smoke", seeds="3"), "seeds='3' must be a whole number"),
        (dict(profile="smoke", seeds=10**12), "seeds=1000000000000 must be 1,000,000 or less"),
        (dict(profile="smoke", arms=3), "make_plan: arms=3 must be text"),
        (dict(profile="smoke", arms=["gpt"]), "make_plan: arms=['gpt'] must be text"),
        (dict(profile="smoke", arms="\x1b[2J"), r"arms: '\x1b[2J' is not an arm"),
        (dict(profile=["smoke"]), "make_plan: profile=['smoke'] must be text"),
        (dict(profile="smoke", data=3), "make_plan: data=3 must be text"),
    ],
)
def test_bad_plans_say_so_in_one_line(arguments, message):
    with pytest.raises(ConfigError) as caught:
        make_plan(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": ["gpt", "kimmi"]}, "default names 'kimmi'"),
        ({"arm": {}}, "arm is not a setting; did you mean arms?"),
        ({"arms": {"gpt": {"modle": "gpt-smoke"}}}, "arms.gpt"),
        ({"device": "tpu"}, "device='tpu'"),
    ],
)
def test_bad_presets_say_so_in_one_line(change, message):
    with pytest.raises(ConfigError) as caught:
        build(BenchPreset, read_yaml("bench-smoke") | change, where="bench-smoke")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
