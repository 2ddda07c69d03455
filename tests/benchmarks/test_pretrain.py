"""The training text and the card of the models that come with the lab."""

from dataclasses import replace
from functools import partial

import benchmarks.pretrain
from benchmarks.pretrain import PLANS, Plan, add_stories, pretrain, ship
from nanokimi.abilities.report import measure_abilities
from nanokimi.config import DataConfig
from nanokimi.presets.yaml_config import load_model_config, load_train_config
from nanokimi.pretrained import load_pretrained, shelf
from nanokimi.text.corpus import load_corpus

SMALL = DataConfig(n_characters=8, n_stories=60, vocab_size=300)


def stories(corpus, split) -> list[str]:
    text = corpus.tokenizer.decode(split.tokens.tolist())
    return text.split("<|endoftext|>")[:-1]


def test_more_stories_are_those_that_a_longer_text_trains_on():
    corpus = load_corpus(SMALL)
    longer = add_stories(corpus, SMALL, 150)
    whole = load_corpus(replace(SMALL, n_stories=150))
    assert stories(longer, longer.train) == stories(whole, whole.train)
    assert longer.val is corpus.val and longer.tokenizer is corpus.tokenizer
    assert set(stories(corpus, corpus.val)) <= set(stories(whole, whole.val))
    assert not set(stories(longer, longer.train)) & set(stories(whole, whole.val))
    assert longer.fingerprint != corpus.fingerprint


def test_the_models_are_what_their_plans_say():
    for name, plan in PLANS.items():
        found = load_pretrained(name)
        assert (found.model.cfg, found.train, found.steps) == (plan.model, plan.train, plan.train.steps)


def test_no_window_is_met_twice():
    """44.6 million tokens are there; the storyworld's trainings take fewer."""
    for plan in PLANS.values():
        n_tokens = plan.train.steps * plan.train.batch_size * plan.train.seq_len
        assert not plan.is_story or n_tokens < 44_000_000


def test_a_small_one_is_trained_goes_on_and_is_shipped_in_place_of_the_older_one(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(benchmarks.pretrain, "measure_abilities", partial(measure_abilities, n_samples=1))
    train = replace(load_train_config("train-smoke"), steps=4, warmup_steps=1, eval_every=2, eval_windows=2)
    plan = Plan(model=load_model_config("kimi-smoke"), train=train)
    data = DataConfig(n_characters=8, n_stories=600, vocab_size=512)
    corpus = load_corpus(data)
    pretrain("kimi-small", plan, corpus, tmp_path / "run")
    for _ in range(2):
        ship("kimi-small", plan, data, corpus, tmp_path / "run", tmp_path / "shelf")
    found = shelf.read_model(tmp_path / "shelf" / "kimi-small")
    card = (tmp_path / "shelf" / "kimi-small" / "README.md").read_text()
    assert found.steps == 4 and found.data == data
    assert (
        f"{found.evaluation.bits_per_byte:.3f}" in card and "python -m benchmarks.pretrain kimi-small" in card
    )
    assert "in half precision" in capsys.readouterr().out
    pretrain("kimi-small", plan, corpus, tmp_path / "run")  # nothing is left to do
