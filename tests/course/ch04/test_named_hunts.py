"""Tests for the hunts of notebook 04 that cannot tell get the name of their mistake, or say what the pieces take."""

import pytest
import torch

from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import RouterStats
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


CFG = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)


def some_logits(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def stats_of(logits, idx):
    return RouterStats(logits, logits.sigmoid(), idx, torch.ones(idx.shape))


def by_a_choice_that_changes(topk_route):
    z = torch.tensor([[[1.0, 0.8, -1.0, 0.0]]])
    with_bias = topk_route(z, torch.tensor([0.0, 0.0, 0.9, 0.0]), CFG)
    assert torch.allclose(topk_route(z, torch.zeros(4), CFG).weights, with_bias.weights)


def by_the_sum_alone(topk_route):
    total = topk_route(some_logits(2, 3, 4), torch.linspace(0, 1, 4), CFG).weights.sum(-1)
    assert ((total - 1).abs() < 1e-4).all()


def by_the_default_configuration(topk_route):
    found = topk_route(some_logits(2, 3, 6), torch.linspace(0, 1, 6), MoEConfig(n_routed_experts=6, top_k=3))
    w = found.scores.gather(-1, found.expert_idx)
    assert torch.allclose(found.weights, w / w.sum(-1, keepdim=True), atol=1e-4)


def by_one_choice(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=1, routed_scaling_factor=1.0)
    found = topk_route(some_logits(1, 3, 4), torch.linspace(0, 1, 4), cfg)
    w = found.scores.gather(-1, found.expert_idx)
    assert torch.allclose(found.weights, w / w.sum(-1, keepdim=True))


def by_the_same_experts(load_balance_loss):
    idx = torch.tensor([2, 3]).expand(1, 6, 2)
    assert abs(load_balance_loss(stats_of(torch.zeros(1, 6, 4), idx)).item() - 1) < 1e-3


def by_k_for_an_even_router(load_balance_loss):
    idx = torch.arange(8).view(1, 4, 2) % 4
    assert abs(load_balance_loss(stats_of(torch.zeros(1, 4, 4), idx)).item() - 2) < 1e-3


def by_one_expert_in_two_calls(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=1, routed_scaling_factor=1.0)
    found = [
        topk_route(some_logits(1, 1, 4), bias, cfg).weights for bias in (torch.zeros(4), torch.eye(4)[3])
    ]
    assert torch.allclose(*found)


def by_two_experts_for_all(load_balance_loss):
    z = some_logits(1, 2, 3)
    loss = load_balance_loss(stats_of(z, torch.tensor([[[0, 1], [1, 0]]])))
    assert torch.isclose(loss, 1.5 * z.softmax(-1)[..., :2].sum(-1).mean())


def by_k_equal_to_e(load_balance_loss):
    assert abs(load_balance_loss(stats_of(torch.zeros(1, 4, 4), torch.arange(4).expand(1, 4, 4))) - 1) < 1e-5


def by_a_gradient_left_out(load_balance_loss):
    z = some_logits(1, 2, 3).requires_grad_()
    load_balance_loss(stats_of(z, torch.tensor([[[0], [1]]]))).backward()
    assert (z.grad[0, 0, 1:].abs() > 1e-8).all()


def by_an_upper_bound(load_balance_loss):
    assert load_balance_loss(stats_of(torch.zeros(1, 4, 4), torch.arange(4).view(1, 4, 1))) <= 1.001


def by_shape_and_numbers(dispatch):
    x = some_logits(20, 4)
    y = dispatch(x, torch.zeros(20, 1, dtype=torch.long), torch.ones(20, 1), ExpertBank(4, 4, 3))
    assert y.shape == (20, 4)
    assert not y.isnan().any() and not y.isinf().any()


def by_equal_logits_and_biases(topk_route):
    found = topk_route(torch.zeros(1, 5, 4), torch.full((4,), -0.2), CFG)
    assert torch.allclose(found.weights, torch.full((1, 5, 2), 0.5))


def by_the_first_of_equal_experts(topk_route):
    found = topk_route(torch.tensor([[[1.0, 1.0, 1.0, -1.0]]]), torch.zeros(4), CFG)
    assert set(found.expert_idx.flatten().tolist()) == {0, 1}


WEAK = [
    ("test_sound_router", by_equal_logits_and_biases, "router_test_of_equal_logits"),
    ("test_sound_router", by_the_first_of_equal_experts, "router_test_of_equal_experts"),
    ("test_sound_router", by_a_choice_that_changes, "router_test_of_another_choice"),
    ("test_sound_router", by_the_sum_alone, "router_test_of_the_sum"),
    ("test_sound_router", by_the_default_configuration, "router_test_without_the_factor"),
    ("test_sound_router", by_one_choice, "router_test_of_one_expert"),
    ("test_sound_loss", by_the_same_experts, "loss_test_of_two_busy_experts"),
    ("test_sound_loss", by_k_for_an_even_router, "loss_test_of_an_even_k"),
    ("test_sound_router", by_one_expert_in_two_calls, "router_test_of_one_expert_in_two_calls"),
    ("test_sound_loss", by_two_experts_for_all, "loss_test_of_the_same_experts_in_another_order"),
    ("test_sound_loss", by_k_equal_to_e, "loss_test_of_all_chosen_with_equal_logits"),
    ("test_sound_loss", by_a_gradient_left_out, "loss_test_of_the_gradient_left_out"),
    ("test_sound_loss", by_an_upper_bound, "loss_test_of_at_most_one"),
    ("test_sound_capacity", by_shape_and_numbers, "capacity_test_of_shape_and_finite_numbers"),
]


SOME = sample(WEAK, 3)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[answer.__name__ for _, answer, _ in SOME])
def test_a_test_that_cannot_tell_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.status == "failed"
    assert [found.name for found in result.diagnoses] == [mistake], result


def without_a_batch(topk_route):
    z = torch.tensor([1.0, 0.5, 0.0, -1.0])
    assert topk_route(z, torch.zeros(4), CFG).weights.sum() == 1


def tokens_without_sequences(load_balance_loss):
    idx = (torch.arange(8) % 4).view(8, 1)
    assert abs(load_balance_loss(stats_of(torch.zeros(8, 4), idx)).item() - 1) < 1e-3


def choices_without_an_axis(dispatch):
    dispatch(some_logits(9, 4), torch.zeros(9, dtype=torch.long), torch.ones(9), ExpertBank(4, 4, 3))


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("test_sound_router", without_a_batch, "(4,), where a router takes (batch, seq, "),
        ("test_sound_loss", tokens_without_sequences, "(8, 4) with an expert_idx of (8, 1), where (batch, "),
        ("test_sound_capacity", choices_without_an_axis, "(9, 4), (9,), (9,), where (tokens, d_model), "),
    ],
)  # fmt: skip
def test_a_piece_says_which_shapes_it_takes(name, answer, says):
    result = judge_answer(name, answer)
    assert result.status == "failed" and says in result.difference.says
