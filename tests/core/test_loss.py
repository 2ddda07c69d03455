"""The loss of the next token and the balancing terms, by hand; and in a training, where they are added."""

import math
from dataclasses import replace

import pytest
import torch

from nanokimi.config import BalanceConfig
from nanokimi.gpt import GPT
from nanokimi.loss import balance_term, next_token_loss
from nanokimi.output import ModelOutput
from nanokimi.router import load_balance_loss, sequence_balance_loss, z_loss
from nanokimi.train import train
from tests import tiny
from tests.training import make_model, run, take_batch


def test_next_token_loss_by_hand():
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])
    expected = (math.log(4) + math.log(2)) / 2
    assert next_token_loss(logits, torch.tensor([[0, 1]])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 4, 7, 11, 12])
def test_the_loss_in_chunks_is_the_loss(monkeypatch, chunk):
    """12 tokens, in chunks that fit and that leave a rest; its gradient too."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=generator, requires_grad=True)
    targets = torch.randint(5, (3, 4), generator=generator)
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    (grad,) = torch.autograd.grad(wanted, logits)
    monkeypatch.setattr("nanokimi.loss.CHUNK", chunk)
    found = next_token_loss(logits, targets)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], grad)


def test_balance_term_is_the_weighted_sum_over_the_mean_layer():
    inputs, _ = take_batch(tiny.train_config())
    model = make_model("kimi-mla", harsh=True, n_layers=3)
    routing = model(inputs).routing
    assert len(routing) == 2
    losses = [
        torch.stack([f(r) for r in routing]).mean()
        for f in (load_balance_loss, sequence_balance_loss, z_loss)
    ]
    for coefs in ((0.5, 0.0, 0.0), (0.0, 0.25, 0.0), (0.0, 0.0, 0.125), (0.5, 0.25, 0.125)):
        cfg = BalanceConfig(switch_coef=coefs[0], sequence_coef=coefs[1], z_coef=coefs[2])
        expected = sum(c * loss.item() for c, loss in zip(coefs, losses, strict=True))
        assert balance_term(routing, cfg).item() == pytest.approx(expected, rel=1e-6)
    assert balance_term(routing, BalanceConfig()).item() == 0.0
    assert balance_term((), cfg).item() == 0.0


class Counting(GPT):
    """A model that is sure that the next token is `ahead` more than this one."""

    def __init__(self, ahead: int, n_ids: int):
        super().__init__(tiny.gpt())
        self.ahead, self.n_ids = ahead, n_ids

    def forward(self, tokens, cache=None, with_max_qk_logit=False):
        sure = torch.nn.functional.one_hot((tokens + self.ahead) % self.n_ids, tiny.VOCAB)
        return ModelOutput(100.0 * sure + 0.0 * self.embed_tokens.weight.sum(), (), None)


@pytest.mark.parametrize(("ahead", "loss"), [(0, 100.0), (1, 0.0), (2, 100.0)])
def test_mistake_26_the_targets_are_shifted_once(ahead, loss):
    """In a text that counts 0 1 2 ..., one ahead is right; copying, or two ahead, is as wrong as can be."""
    corpus = tiny.corpus()
    n = corpus.tokenizer.n_vocab
    counting = (torch.arange(len(corpus.train)) % n).numpy().astype("uint16")
    corpus = replace(corpus, train=replace(corpus.train, tokens=counting))
    record = next(train(Counting(ahead, n), corpus, tiny.train_config()))
    assert record.loss == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_the_loss_before_training_is_that_of_guessing(name):
    first = run(make_model(name), tiny.train_config(steps=3))[0]
    assert first.loss == pytest.approx(math.log(tiny.VOCAB), abs=0.05)


@pytest.mark.parametrize("term", ["switch_coef", "sequence_coef", "z_coef"])
def test_mistake_8_the_balance_loss_is_added(term):
    """The step's gradient is that of loss + coefficient · balance, and the gate's differs from the loss's alone."""
    model, inputs_targets = make_model("kimi-mla", harsh=True), take_batch(tiny.train_config())
    balance = BalanceConfig(**{term: 2.0})
    gradients = {}
    for cfg in (BalanceConfig(), balance):
        model.zero_grad()
        out = model(inputs_targets[0])
        loss, extra = next_token_loss(out.logits, inputs_targets[1]), balance_term(out.routing, cfg)
        (loss + extra).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()
        gradients[cfg] = (model.layers[1].mlp.gate.grad.clone(), norm, loss.item(), extra.item())
    (plain, plain_norm, *_), (balanced, norm, loss, extra) = gradients.values()
    assert (plain - balanced).norm() > 1e-3 * plain.norm()
    assert abs(norm / plain_norm - 1) > 1e-4

    record = run(make_model("kimi-mla", harsh=True), tiny.train_config(balance=balance))[0]
    assert record.grad_norm == pytest.approx(norm, rel=1e-5)
    assert record.loss == pytest.approx(loss, rel=1e-6)
    assert record.balance_loss == pytest.approx(extra, rel=1e-6)
