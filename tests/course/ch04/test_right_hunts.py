"""Good tests for the bugs of notebook 04, other than the lab's own, pass; one that asks too much fails."""

import pytest
import torch

from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import RouterStats
from tests.course.keys import judge_answer


def by_the_routers_own_scores(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    stats = topk_route(torch.randn(1, 3, 4), torch.tensor([0.0, 0.4, 0.0, -0.2]), cfg)
    w = stats.scores.gather(-1, stats.expert_idx)
    assert torch.allclose(stats.weights, w / w.sum(-1, keepdim=True))


def by_sorted_weights_and_the_default_factor(topk_route):
    cfg, z = MoEConfig(n_routed_experts=4, top_k=4), torch.randn(1, 3, 4)
    without = topk_route(z, torch.zeros(4), cfg)
    with_bias = topk_route(z, torch.tensor([0.0, 1.0, 0.0, 0.0]), cfg)
    assert torch.allclose(without.weights.sort(dim=-1).values, with_bias.weights.sort(dim=-1).values)


def by_weights_as_they_are(topk_route):
    cfg = MoEConfig(n_routed_experts=8, top_k=2, routed_scaling_factor=1.0, norm_topk_prob=False)
    z = torch.randn(2, 3, 8)
    stats = topk_route(z, torch.full((8,), 0.3), cfg)
    torch.testing.assert_close(stats.weights, z.sigmoid().gather(-1, stats.expert_idx))


def by_softmax_scores(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=3, scoring="softmax", routed_scaling_factor=2.0)
    z = torch.randn(1, 5, 4)
    stats = topk_route(z, torch.tensor([0.0, 0.9, 0.0, -0.2]), cfg)
    w = z.softmax(-1).gather(-1, stats.expert_idx)
    torch.testing.assert_close(stats.weights, 2 * w / w.sum(-1, keepdim=True))


def by_groups(topk_route):
    cfg = MoEConfig(n_routed_experts=8, top_k=2, n_group=4, topk_group=1, routed_scaling_factor=1.0)
    stats = topk_route(torch.randn(1, 5, 8), torch.linspace(0, 1, 8), cfg)
    w = stats.scores.gather(-1, stats.expert_idx)
    torch.testing.assert_close(stats.weights, w / w.sum(-1, keepdim=True))


def by_the_gradient(topk_route):
    """With a bias that hides in the weights their gradient is that of other numbers."""
    cfg = MoEConfig(n_routed_experts=3, top_k=2, routed_scaling_factor=1.0)
    slopes = []
    for bias in (torch.zeros(3), torch.tensor([5.0, 2.0, 0.0])):
        z = torch.tensor([[[1.0, 0.5, -3.0]]], requires_grad=True)
        stats = topk_route(z, bias, cfg)
        by_expert = torch.zeros(1, 1, 3).scatter(-1, stats.expert_idx, stats.weights)
        slopes.append(torch.autograd.grad(by_expert[0, 0, 0], z)[0])
    assert torch.allclose(*slopes, atol=1e-6)


def by_the_formula(load_balance_loss):
    z = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    s = z.softmax(-1)
    top = s.topk(2)
    loss = load_balance_loss(RouterStats(z, s, top.indices, top.values))
    f = torch.bincount(top.indices.flatten(), minlength=4) / top.indices.numel()
    assert torch.isclose(loss, 4 * (f * s.mean((0, 1))).sum())


def by_an_even_router(load_balance_loss):
    z, idx = torch.zeros(1, 4, 4), torch.arange(4).view(1, 4, 1)
    assert torch.equal(load_balance_loss(RouterStats(z, z, idx, idx)), torch.tensor(1.0))


def by_the_bank_itself(dispatch):
    bank = ExpertBank(4, 4, 6)
    for p in bank.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(64, 4)
    y = dispatch(x, torch.zeros(64, 1, dtype=torch.long), torch.ones(64, 1), bank)
    assert torch.allclose(y, bank(x, [64, 0, 0, 0]), atol=1e-4)


def by_tokens_without_an_answer(dispatch):
    bank = ExpertBank(4, 4, 6)
    for p in bank.parameters():
        torch.nn.init.normal_(p)
    y = dispatch(torch.randn(64, 4), torch.zeros(64, 1, dtype=torch.long), torch.ones(64, 1), bank)
    assert (y.abs().sum(-1) > 0).all()


def by_six_digits(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    found = topk_route(torch.tensor([[[2.0, 0.0, -1.0, 1.0]]]), torch.tensor([-0.05, 0.35, 0.0, 0.0]), cfg)
    s = found.scores.gather(-1, found.expert_idx)
    assert (found.weights - s / s.sum(-1, keepdim=True)).abs().max() < 1e-6


def by_two_equal_halves(topk_route):
    cfg = MoEConfig(n_routed_experts=2, top_k=2, routed_scaling_factor=1.0)
    assert (topk_route(torch.zeros(1, 1, 2), torch.tensor([0.0, 0.5]), cfg).weights == 0.5).all()


RIGHT = [
    ("test_sound_router", by_six_digits),
    ("test_sound_router", by_two_equal_halves),
    ("test_sound_router", by_the_routers_own_scores),
    ("test_sound_router", by_sorted_weights_and_the_default_factor),
    ("test_sound_router", by_weights_as_they_are),
    ("test_sound_router", by_softmax_scores),
    ("test_sound_router", by_groups),
    ("test_sound_router", by_the_gradient),
    ("test_sound_loss", by_the_formula),
    ("test_sound_loss", by_an_even_router),
    ("test_sound_capacity", by_the_bank_itself),
    ("test_sound_capacity", by_tokens_without_an_answer),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


def of_the_choice(topk_route):
    """Equal weights whatever the bias, although the bias may change who is chosen: a sound router fails."""
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    z = torch.tensor([[[1.0, 0.5, 0.0, -1.0]]])
    with_bias = topk_route(z, torch.tensor([0.0, 0.0, 0.9, 0.0]), cfg)
    assert torch.allclose(topk_route(z, torch.zeros(4), cfg).weights, with_bias.weights)


def test_a_test_that_a_sound_router_fails_is_no_answer():
    assert judge_answer("test_sound_router", of_the_choice).status == "failed"
