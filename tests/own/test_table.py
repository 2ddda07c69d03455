"""An attention of one's own is a value of a configuration, which checkpoints reload; each fault is one line."""

from dataclasses import dataclass, replace

import pytest
import torch

from nanokimi import Kimi, KimiConfig, build_model, evaluate, generate, register_attention, train
from nanokimi.checkpoint import CheckpointError, load_checkpoint
from nanokimi.config import ConfigError, to_dict
from nanokimi.count import cache_elements, count_parameters, flops_per_token
from nanokimi.hub import HubError, to_hub_config
from nanokimi.own import table
from nanokimi.presets.yaml_config import build_model_config
from tests import tiny
from tests.own import attentions as own


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """A table of this test's own."""
    monkeypatch.setattr(table, "_table", {})
    register_attention("plain", own.PlainAttention, own.Plain)
    register_attention("mean", own.MeanAttention, own.Mean)


def config(attention="mean", settings=None, **changes) -> KimiConfig:
    return replace(tiny.kimi("mha"), attention=attention, own_attention=settings, **changes)


def test_the_labs_attention_under_another_name_gives_the_labs_logits():
    tokens = torch.arange(12).view(2, 6)
    named, theirs = build_model(config("plain"), seed=3), build_model(tiny.kimi("mha"), seed=3)
    assert torch.equal(named(tokens).logits, theirs(tokens).logits)
    out = named(tokens, with_max_qk_logit=True).max_qk_logit
    assert torch.equal(out, theirs(tokens, with_max_qk_logit=True).max_qk_logit)


def test_a_checkpoint_reloads_name_settings_and_weights(tmp_path):
    model, corpus = build_model(config(settings=own.Mean(decay=0.25))), tiny.corpus()
    cfg = tiny.train_config(steps=2, warmup_steps=0, eval_every=1, qk_clip_tau=None)
    list(train(model, corpus, cfg, tmp_path / "run"))
    found = load_checkpoint(tmp_path / "run").model
    assert found.cfg == model.cfg and found.layers[0].self_attn.decay == 0.25
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), model.state_dict().values()))
    assert evaluate(found, corpus, cfg) == evaluate(model, corpus, cfg)


def test_a_run_goes_on_with_it(tmp_path):
    corpus = tiny.corpus()
    cfg = tiny.train_config(steps=4, warmup_steps=0, eval_every=2, qk_clip_tau=None)
    whole = [r.loss for r in train(build_model(config()), corpus, cfg, tmp_path / "whole")]
    stopped = train(build_model(config()), corpus, cfg, tmp_path / "run")
    first = [next(stopped).loss for _ in range(2)]
    stopped.close()
    rest = [r.loss for r in train(build_model(config()), corpus, cfg, tmp_path / "run", resume=True)]
    assert first + rest == whole


def test_a_checkpoint_of_an_unknown_attention_says_so_and_not_that_it_is_damaged(tmp_path, monkeypatch):
    cfg = tiny.train_config(steps=1, warmup_steps=0, eval_every=1, qk_clip_tau=None)
    list(train(build_model(config()), tiny.corpus(), cfg, tmp_path))
    monkeypatch.setattr(table, "_table", {})
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(tmp_path / "step-000001")
    assert "attention='mean' must be 'mha', 'mla'" in str(refused.value)
    assert "call register_attention first" in str(refused.value) and "damaged" not in str(refused.value)


def test_plain_data_gives_the_configuration_again_and_others_are_written_as_before():
    cfg = config(settings=own.Mean(decay=0.25))
    assert to_dict(cfg)["own_attention"] == {"decay": 0.25}
    assert build_model_config(to_dict(cfg)) == cfg
    assert config().own_attention == own.Mean()
    assert "own_attention" not in to_dict(KimiConfig())


def test_texts_of_different_lengths_go_on_as_they_would_alone():
    model, prompts = tiny.harsh_(build_model(config("plain"))), [[1, 2, 3, 4], [5]]
    together = list(generate(model, prompts, 5, seed=1))
    assert [list(column) for column in zip(*together)] == [
        list(generate(model, p, 5, seed=1)) for p in prompts
    ]


@dataclass
class Thawed:
    decay: float = 0.5


@dataclass(frozen=True)
class NotPlain:
    width: object = torch.float32


@pytest.mark.parametrize(
    ("name", "module", "settings", "line"),
    [
        ("Own Name", own.PlainAttention, own.Plain, "name='Own Name' must be a word in lower case"),
        ("mla", own.PlainAttention, own.Plain, "name='mla' is one of the lab's own"),
        ("x", own.Plain, own.Plain, "must be a class of torch.nn.Module"),
        ("x", own.PlainAttention, Thawed, "must be a frozen dataclass"),
        ("x", own.NoSettings, own.Plain, "it must be built as NoSettings(d_model, n_heads, settings)"),
        ("x", own.NoForward, own.Plain, "it must have forward(x, rotation, cache=None, with_max_qk_logit"),
        ("x", own.OddClip, own.Plain, "QK-clip must be clip_qk_(max_qk_logit, tau), or not be there"),
    ],
)
def test_what_can_be_seen_in_a_class_is_refused_when_it_is_registered(name, module, settings, line):
    with pytest.raises(ConfigError) as refused:
        register_attention(name, module, settings)
    assert line in str(refused.value) and not table.find_own("x")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"attention": "meen"},
            "attention='meen' must be 'mha', 'mla', 'block_latent' or 'kda', or 'mean', or 'plain'; for one",
        ),
        ({"attention": 3}, "attention=3 must be a name, or a list of names"),
        ({"own_attention": own.Plain()}, "own_attention=Plain() must be a Mean"),
        ({"own_attention": {"decoy": 1}}, "unexpected keyword argument 'decoy'"),
        ({"attention": "mha", "own_attention": own.Mean()}, "is not used by attention=mha"),
        ({"own_attention": own.Mean(decay=float("nan"))}, "cannot be saved"),
    ],
)
def test_a_configuration_refuses_what_does_not_fit(changes, line):
    with pytest.raises(ConfigError) as refused:
        replace(config(), **changes)
    assert line in str(refused.value)


def test_settings_that_no_checkpoint_can_hold_are_refused():
    register_attention("odd", own.PlainAttention, NotPlain)
    with pytest.raises(ConfigError, match="cannot be saved: use numbers, texts"):
        config("odd")


def test_what_has_no_formula_is_refused_in_one_line():
    assert count_parameters(config("plain")) == count_parameters(tiny.kimi("mha"))
    for call in (lambda: flops_per_token(config(), 8), lambda: cache_elements(config(), 8)):
        with pytest.raises(ConfigError, match="no formula knows attention=mean"):
            call()
    with pytest.raises(HubError, match="attention=mean cannot be exported"):
        to_hub_config(config())


def test_without_clip_qk_the_logits_are_refused_before_a_file_is_written(tmp_path):
    model = Kimi(config())
    with pytest.raises(ConfigError, match="attention='mean' has no clip_qk_"):
        model(torch.zeros(1, 3, dtype=torch.long), with_max_qk_logit=True)
    cfg = tiny.train_config(steps=1, warmup_steps=0, eval_every=1, qk_clip_tau=1.0)
    with pytest.raises(ConfigError, match="leave qk_clip_tau empty"):
        next(train(model, tiny.corpus(), cfg, tmp_path / "run"))
    assert not (tmp_path / "run" / "steps.jsonl").exists()
