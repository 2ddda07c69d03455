"""Plans of studies of arms: rates of an arm's own, equal active parameters, and refusals."""

import pytest

from lab_utils.study import command
from lab_utils.study.arms_plan import make_arms_plan
from lab_utils.study.plan import profiles_of
from nanokimi.config import ConfigError
from nanokimi.count import count_parameters
from nanokimi.presets.idle import idle_settings

SMALL = """
question: tokens
data: {source: storyworld, vocab_size: 512}
train: {steps: 10, batch_size: 2, seq_len: 16, warmup_steps: 1}
rates: [0.01, 0.02]
arms:
  adamw: {model: kimi-facts-dense}
  muon:  {model: kimi-facts, model_set: [moe.top_k=3], set: [steps=20, optim.optimizer=muon], rates: [0.02, 0.04, 0.08]}
"""
NAMES = ("muon", "clip", "balance", "sparsity")


def test_an_arm_is_trained_at_its_own_rates_or_at_those_of_all(preset):
    preset(SMALL)
    plan = make_arms_plan("made", "cpu", 2)
    first = [("adamw", 0.01), ("muon", 0.02), ("adamw", 0.02), ("muon", 0.04), ("muon", 0.08)]
    assert [(c.arm, c.lr, c.trained.train.seed) for c in plan.cells] == [
        (arm, rate, seed) for seed in (0, 1) for arm, rate in first
    ]
    assert [c.trained.name for c in plan.cells[:2]] == ["adamw-lr0.01", "muon-lr0.02"]
    adamw, muon = (c.trained for c in plan.cells[:2])
    assert (adamw.train.steps, adamw.train.optim.optimizer, adamw.model.moe) == (10, "adamw", None)
    assert (muon.train.steps, muon.train.optim.optimizer, muon.model.moe.top_k) == (20, "muon", 3)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("question: tokens", "question: token", "question='token' must be"),
        ("rates: [0.01, 0.02]", "rates: []", "rates is empty: name one or more"),
        ("[0.02, 0.04, 0.08]", "[0.02, 0.02]", "arms.muon.rates=(0.02, 0.02) has a value twice"),
        ("[0.02, 0.04, 0.08]", "[0]", "must be above 0"),
        ("steps=20", "steps=0", "steps=0"),
        ("moe.top_k=3", "moe.top_k=30", "top_k=30 must lie in"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_in_a_line(preset, before, after, says):
    assert before in SMALL
    preset(SMALL.replace(before, after))
    with pytest.raises(ConfigError) as found:
        make_arms_plan("made")
    assert says in str(found.value)
    assert "\n" not in str(found.value)


def test_another_text_replaces_that_of_the_preset_and_nothing_else(preset):
    preset(SMALL)
    plan, other = make_arms_plan("made"), make_arms_plan("made", data="my/notes")
    assert other.preset.data.source == other.data == "my/notes" and plan.data == ""
    assert other.preset.data.vocab_size == plan.preset.data.vocab_size == 512
    assert other.cells == plan.cells


@pytest.mark.parametrize("name", ["facts", "cache"])
def test_a_study_with_a_text_of_its_own_takes_no_other(name):
    with pytest.raises(
        ConfigError, match=f"--data='x': the study {name} has a text of its own; leave it out"
    ):
        command.run([f"--name={name}", "--data=x"])


@pytest.mark.parametrize(("name", "profile"), [(name, p) for name in NAMES for p in profiles_of(name)])
def test_arms_of_a_study_have_as_many_active_parameters_and_no_idle_setting(name, profile):
    plan = make_arms_plan(name, profile)
    arms = {cell.arm: cell.trained for cell in plan.cells}
    active = [count_parameters(arm.model).body_active for arm in arms.values()]
    assert max(active) <= 1.02 * min(active)
    for arm in arms.values():
        assert idle_settings(plan.preset.data, arm.model, arm.train) == []
    assert profiles_of(name)[:2] == ["cpu", "smoke"]
    # Arms that are compared see as many tokens per step, in the same batches.
    assert (
        len({(arm.train.batch_size, arm.train.seq_len, arm.train.grad_accum) for arm in arms.values()}) == 1
    )


def test_the_arms_of_the_studies_ask_their_question():
    plans = {name: make_arms_plan(name) for name in NAMES}
    assert [plan.preset.question for plan in plans.values()] == ["tokens", "logits", "balance", "sparsity"]
    muon = {c.arm: c.trained.train for c in plans["muon"].cells}
    tokens = [arm.steps * arm.batch_size * arm.seq_len for arm in muon.values()]
    assert sorted({round(n / 1e6) for n in tokens}) == [1, 4, 16]
    moe = {c.arm: c.trained.model.moe for c in plans["sparsity"].cells}
    assert moe.pop("dense") is None
    assert {(each.n_routed_experts, each.top_k) for each in moe.values()} == {
        (n, k) for n in (16, 64) for k in (1, 2, 4)
    }
    clip = {c.arm: c.trained.train.qk_clip_tau for c in plans["clip"].cells}
    assert clip == {"without": 1e9, "tau-100": 100, "decay": 1e9, "heads": 1e9}
