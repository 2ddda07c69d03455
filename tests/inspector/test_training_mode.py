"""What sees the future in training mode only is found, and the module that does it is named."""

import copy

import pytest
import torch
from torch import nn

from lab_utils.inspector.causality import probe_causality
from lab_utils.inspector.subject import as_subject
from nanokimi.model import build_model
from tests import tiny
from tests.tiny import harsh_


class Block(nn.Module):
    """A causal mean of what came so far, behind a norm over the channels."""

    def __init__(self, norm):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), norm, nn.Linear(4, 4)

    def forward(self, x):
        h = self.first(x)
        is_batch_norm = isinstance(self.norm, nn.BatchNorm1d)
        h = self.norm(h.mT).mT if is_batch_norm else self.norm(h)
        counts = torch.arange(1, h.shape[1] + 1, dtype=h.dtype)[:, None]
        return x + self.last(torch.tanh(h).cumsum(1) / counts)


class Tokens(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.embed, self.block = nn.Embedding(7, 4), Block(norm)

    def forward(self, tokens):
        return self.block(self.embed(tokens))


class Unmasked(nn.Module):
    """Its author has forgotten the mask where it trains."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x):
        scores = self.mix(x) @ x.mT
        if not self.training:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
        return scores.softmax(-1) @ x


class WantsTargets(Block):
    def forward(self, x, targets=None):
        if self.training and targets is None:
            raise ValueError("no targets")
        return super().forward(x)


@pytest.mark.parametrize(
    "model", [Block(nn.BatchNorm1d(4)), Tokens(nn.BatchNorm1d(4))], ids=["vectors", "tokens"]
)
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_over_the_tokens_is_found_and_named(model, training):
    model.train(training)
    before = copy.deepcopy(model.state_dict())
    finding = probe_causality(as_subject(model, seq_len=6))
    assert finding.passed is False
    assert finding.evidence.startswith("In training mode only, 15 of 15 pairs above the diagonal are not 0")
    where = "block.norm" if isinstance(model, Tokens) else "norm"
    assert finding.evidence.endswith(f"It comes from {where} (BatchNorm1d).")
    assert all(each.training == training for each in model.modules())
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_mask_that_is_forgotten_in_training_is_found():
    finding = probe_causality(as_subject(Unmasked(), seq_len=5))
    assert finding.passed is False
    assert finding.evidence.endswith("It comes from the Unmasked itself.")


@pytest.mark.parametrize(
    "model",
    [
        Block(nn.LayerNorm(4)),
        Block(nn.Dropout(0.5)),
        WantsTargets(nn.LayerNorm(4)),
        pytest.param(harsh_(build_model(tiny.kimi("mla"))), marks=pytest.mark.slow),
    ],
    ids=["LayerNorm", "Dropout", "wants targets", "Kimi"],
)
def test_what_is_causal_in_both_modes_passes(model):
    assert probe_causality(as_subject(model)).passed


def test_a_gpt_with_a_batch_norm_in_one_layer():
    model = harsh_(build_model(tiny.gpt()))
    width = model.cfg.d_model

    class OverTokens(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x.mT).mT

    model.layers[1].ln_2 = OverTokens(width)
    finding = probe_causality(as_subject(model))
    assert finding.passed is False and "layers.1.ln_2 (OverTokens)" in finding.evidence
