"""An attention of one's own is tried when a model is built, and each wrong one is named in one line."""

from dataclasses import replace

import pytest
import torch

from nanokimi import Kimi, register_attention
from nanokimi.config import ConfigError
from nanokimi.own import table
from tests import tiny
from tests.own import attentions as own


@pytest.fixture(autouse=True)
def _empty_table(monkeypatch):
    monkeypatch.setattr(table, "_table", {})


def build(module, settings=own.Plain, **changes) -> Kimi:
    register_attention("tried", module, settings)
    return Kimi(replace(tiny.kimi("mha"), attention="tried", **changes))


@pytest.mark.parametrize("context", [1, 2, 3, 5, 16, 400])
@pytest.mark.parametrize(
    ("module", "settings"), [(own.PlainAttention, own.Plain), (own.MeanAttention, own.Mean)]
)
def test_right_ones_pass_at_every_length_of_the_context(module, settings, context):
    assert build(module, settings, max_seq_len=context).training


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (own.BareTensor, "forward returns a Tensor; it must return AttentionOutput(out, max_qk_logit)"),
        (own.Narrow, "it returns out of shape (2, 16, 15) for x of shape (2, 16, 16)"),
        (own.NotFinite, "out is not finite"),
        (own.SeesTheFuture, "tokens before position 1 read what comes later"),
        (own.ForgetsItsCache, "after 8 tokens its cache has 0; append one entry per token"),
        (own.KeepsOneToken, "with a cache it gives another output than without one"),
        (own.MeasuresNothing, "with_max_qk_logit gives max_qk_logit None; clip_qk_ needs shape (2,)"),
        (own.ClipsNothing, "after clip_qk_ with tau="),
    ],
)
def test_each_wrong_one_is_named(module, line):
    with pytest.raises(ConfigError) as refused:
        build(module)
    assert str(refused.value).startswith("attention 'tried': ") and line in str(refused.value)


def test_the_trial_changes_no_weight_and_no_random_number():
    torch.manual_seed(0)
    Kimi(tiny.kimi("mha"), seed=5)
    expected = torch.rand(3)
    torch.manual_seed(0)
    model = build(own.PlainAttention)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(
        model.layers[0].self_attn.q_proj.weight, Kimi(tiny.kimi("mha")).layers[0].self_attn.q_proj.weight
    )


def test_shapes_alone_are_not_tried():
    with torch.device("meta"):
        assert build(own.SeesTheFuture).lm_head.weight.is_meta
