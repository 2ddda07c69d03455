"""Plans of studies: the product of their axes, one pass over each text, equal active parameters, and refusals."""

from types import SimpleNamespace

import pytest

from lab_utils.study import plan
from lab_utils.study.plan import make_study, profiles_of, study_names
from nanokimi.config import ConfigError
from nanokimi.count import count_parameters
from nanokimi.presets.idle import idle_settings

SMALL = """
data: {source: almanac, vocab_size: 400}
train: {batch_size: 4, seq_len: 16, warmup_steps: 50, optim: {optimizer: muon}}
characters: [8, 16]
exposures: [1, 2, 3]
rates: [0.01, 0.02]
arms:
  dense: {model: kimi-facts-dense}
  few:   {model: kimi-facts, model_set: [moe.n_routed_experts=4], set: [balance.bias_update_rate=0.01]}
"""


def test_every_arm_is_trained_at_every_place(preset):
    preset(SMALL)
    study = make_study("made", "cpu", 2)
    places = {
        (c.arm, c.data.n_characters, c.data.n_exposures, c.trained.train.optim.lr, c.trained.train.seed)
        for c in study.cells
    }
    assert len(places) == len(study.cells) == 2 * 2 * 3 * 2 * 2
    assert len({(c.trained.name, c.trained.train.seed) for c in study.cells}) == len(study.cells)
    assert [(d.n_characters, d.n_exposures) for d in study.texts()] == [
        (n, e) for n in (8, 16) for e in (1, 2, 3)
    ]
    dense, few = study.cells[0].trained, study.cells[1].trained
    assert (dense.model.moe, few.model.moe.n_routed_experts) == (None, 4)
    assert (dense.train.balance.bias_update_rate, few.train.balance.bias_update_rate) == (0, 0.01)


@pytest.mark.parametrize(
    ("n_tokens", "steps", "eval_every", "warmup"), [(64_001, 1000, 125, 50), (645, 10, 2, 9), (9, 1, 1, 0)]
)
def test_a_training_is_one_pass_over_its_text(preset, n_tokens, steps, eval_every, warmup):
    """A step has 4 windows of 16 tokens; the last target is one token later."""
    preset(SMALL)
    corpus = SimpleNamespace(train=range(n_tokens), tokenizer=SimpleNamespace(n_vocab=333))
    arm = make_study("made").cells[0].on(corpus)
    assert (arm.train.steps, arm.train.eval_every, arm.train.warmup_steps) == (steps, eval_every, warmup)
    assert arm.model.vocab_size == 333


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("source: almanac", "source: storyworld", "data.source='storyworld' must be almanac"),
        ("exposures: [1, 2, 3]", "exposures: []", "exposures is empty: name one or more"),
        ("rates: [0.01, 0.02]", "rates: [0.01, 0.01]", "has a value twice"),
        ("rates: [0.01, 0.02]", "rates: [0.01, 0]", "rates.1=0 must be above 0"),
        ("n_routed_experts=4", "n_routed_experts=1", "top_k=2 must lie in"),
        ("kimi-facts-dense", "kimi-fact-dense", "preset 'kimi-fact-dense' does not exist"),
        ("rates:", "rate:", "rate"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_in_a_line(preset, before, after, says):
    preset(SMALL.replace(before, after))
    with pytest.raises(ConfigError) as found:
        make_study("made")
    assert says in str(found.value)
    assert "\n" not in str(found.value)


def test_what_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"study 'fact' does not exist; did you mean facts\?"):
        make_study("fact")
    with pytest.raises(ConfigError, match="profile='cup' does not exist"):
        make_study("facts", "cup")


def test_the_studies_that_there_are():
    assert study_names() == ["balance", "cache", "clip", "facts", "muon", "sparsity"]
    assert profiles_of("facts") == ["cpu", "live", "many", "map", "smoke"]
    assert profiles_of("sparsity") == ["cpu", "smoke", "tinystories"]
    assert plan.make_study("facts", "map").preset.exposures == (10, 30, 100)


@pytest.mark.parametrize("profile", profiles_of("facts"))
def test_all_arms_of_a_study_have_as_many_active_parameters(profile):
    cells = make_study("facts", profile).cells
    active = {c.arm: count_parameters(c.trained.model).body_active for c in cells}
    assert max(active.values()) <= 1.02 * min(active.values())
    assert {c.trained.train.optim.optimizer for c in cells} == {"muon"}
    for cell in cells[: len(active)]:
        assert idle_settings(cell.data, cell.trained.model, cell.trained.train) == []
