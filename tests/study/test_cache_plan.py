"""Plans of the study of the cache: the product of its axes, equal caches, equal active parameters, and refusals."""

import pytest

from lab_utils.study.cache_plan import make_cache_plan
from lab_utils.study.plan import profiles_of, study_names
from nanokimi.config import ConfigError
from nanokimi.count import cache_elements, count_parameters
from nanokimi.presets import yaml_config
from nanokimi.presets.idle import idle_settings

SMALL = """
data: {source: storyworld, vocab_size: 512}
train: {steps: 10, batch_size: 2, seq_len: 16, warmup_steps: 1, optim: {optimizer: muon}}
decoding:
  contexts: [8, 32]
  batches: [1, 2]
  rounds: 3
  tokens: 4
  models:
    mha: {model: kimi-smoke-dense}
    mla: {model: kimi-smoke-mla, model_set: [n_heads=4]}
rates: [0.01, 0.02]
challenger: mla
arms:
  mha: {model: kimi-smoke-dense, model_set: [d_model=24, n_layers=1]}
  mla: {model: kimi-smoke-mla, set: [grad_clip=0.5]}
"""


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """Makes the preset of this study from a text; the presets of models are the real ones."""

    def write(text: str) -> None:
        for each in yaml_config.PRESETS.glob("*-smoke*.yaml"):
            (tmp_path / each.name).write_text(each.read_text())
        (tmp_path / "study-cache-cpu.yaml").write_text(text)
        monkeypatch.setattr(yaml_config, "PRESETS", tmp_path)

    return write


def test_every_arm_is_trained_at_every_rate_with_every_seed(preset):
    preset(SMALL)
    plan = make_cache_plan("cpu", 3)
    places = {(c.arm, c.trained.train.optim.lr, c.trained.train.seed) for c in plan.cells}
    assert len(places) == len(plan.cells) == 2 * 2 * 3
    assert len({(c.trained.name, c.trained.train.seed) for c in plan.cells}) == len(plan.cells)
    mha, mla = (c.trained for c in plan.cells[:2])
    assert (mha.name, mha.model.d_model, mla.model.attention) == ("mha-lr0.01", 24, "mla")
    assert (mha.train.grad_clip, mla.train.grad_clip) == (1.0, 0.5)
    assert plan.seeds == (0, 1, 2)


def test_models_that_decode_have_room_for_all_rounds(preset):
    """The longest context, and one round of warming up and three that count, of 4 tokens each."""
    preset(SMALL)
    plan = make_cache_plan("cpu")
    assert {name: cfg.max_seq_len for name, cfg in plan.models.items()} == {"mha": 48, "mla": 48}
    assert plan.models["mla"].n_heads == 4


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("challenger: mla", "challenger: mlp", "challenger='mlp' is no arm; did you mean mla?"),
        ("rates: [0.01, 0.02]", "rates: []", "rates is empty: name one or more"),
        ("contexts: [8, 32]", "contexts: [8, 8]", "contexts=(8, 8) has a value twice"),
        ("batches: [1, 2]", "batches: [0]", "decoding.batches.0=0"),
        ("mha: {model: kimi-smoke-dense}", "mha: {model: gpt-smoke}", "model 'gpt-smoke' is no Kimi"),
        ("  rounds: 3\n", "", "rounds"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_in_a_line(preset, before, after, says):
    assert before in SMALL
    preset(SMALL.replace(before, after))
    with pytest.raises(ConfigError) as found:
        make_cache_plan("cpu")
    assert says in str(found.value)
    assert "\n" not in str(found.value)


def test_the_profiles_that_there_are():
    assert "cache" in study_names()
    assert profiles_of("cache") == ["cpu", "smoke"]
    with pytest.raises(ConfigError, match="profile='map' does not exist"):
        make_cache_plan("map")


@pytest.mark.parametrize(("profile", "numbers", "wider"), [("cpu", 320, {"mha"}), ("smoke", 48, set())])
def test_ordinary_heads_have_the_cache_of_latent_attention_and_as_many_parameters(profile, numbers, wider):
    """4 layers x (64 + 16) numbers, and 2 x (16 + 8) in the smoke profile; one arm has the width instead."""
    plan = make_cache_plan(profile)
    arms = {cell.arm: cell.trained.model for cell in plan.cells}
    caches = {arm: cache_elements(cfg, 1) for arm, cfg in arms.items()}
    assert {arm for arm, n in caches.items() if n != numbers} == wider
    for models in (arms, plan.models):
        active = [count_parameters(cfg).body_active for cfg in models.values()]
        assert max(active) <= 1.01 * min(active)
    assert len({(cfg.d_model, cfg.n_layers, cfg.n_heads) for cfg in plan.models.values()}) == 1
    for cell in plan.cells[: len(arms)]:
        assert idle_settings(plan.preset.data, cell.trained.model, cell.trained.train) == []
