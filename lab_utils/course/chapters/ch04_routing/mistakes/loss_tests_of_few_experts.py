"""Tests that cannot tell, of test_sound_loss, of notebook 04: the broken piece leaves nothing out; gradients alone."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.loss_inputs import (
    COMPARE,
    EVEN,
    close,
    loss_by_formula,
    some,
    stats_of,
)
from lab_utils.course.exercise import mistake

NOTHING_LEFT_OUT = (
    "With its router the broken piece gives the right number too, within its tolerance: be it that all tokens "
    "choose the same experts, as for K = E or with one token, or that those left out have no probability.",
    "Which part of P does the piece above lose, and how large is it with your router? Take K below E, tokens that "
    "choose different experts, and logits that are not far apart.",
)


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_all_chosen(load_balance_loss):
    stats = some()
    assert close(load_balance_loss(stats._replace(expert_idx=torch.arange(4).expand(2, 5, 4))), 1)


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_all_chosen_with_equal_logits(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), torch.arange(4).expand(1, 4, 4))), 1)


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_both_of_two(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 2), torch.arange(2).expand(1, 4, 2))), 1)


def _by_formula(load_balance_loss, idx):
    """Random logits, `idx` for two tokens after each other, and the right number."""
    stats = stats_of(some().logits[:, :4], idx.repeat(2, 2, 1))
    assert close(load_balance_loss(stats), loss_by_formula(stats))


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_the_same_experts(load_balance_loss):
    _by_formula(load_balance_loss, torch.tensor([[[0, 1], [0, 1]]]))


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_the_same_experts_in_another_order(load_balance_loss):
    _by_formula(load_balance_loss, torch.tensor([[[0, 1], [1, 0]]]))


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_the_same_expert(load_balance_loss):
    _by_formula(load_balance_loss, torch.tensor([[[2], [2]]]))


@mistake(*NOTHING_LEFT_OUT)
def loss_test_of_sure_tokens(load_balance_loss):
    assert close(load_balance_loss(stats_of(30 * torch.eye(4)[None], EVEN)), 1)


NO_VALUE = (
    "The test never looks at how large the loss is: half of it passes, and its negative. What the test asks of the "
    "gradient holds for the broken piece too.",
    COMPARE,
)


def _left_out(load_balance_loss, logits, idx):
    """The gradient at the experts that a token leaves out."""
    logits = logits.clone().requires_grad_()
    load_balance_loss(stats_of(logits, idx)).backward()
    return logits.grad[torch.ones(logits.shape).scatter(-1, idx, 0.0).bool()].abs()


@mistake(*NO_VALUE)
def loss_test_of_the_gradient_left_out(load_balance_loss):
    logits, idx = torch.tensor([[[2.0, 1.0, 0.0], [1.0, 3.0, 0.5]]]), torch.tensor([[[0], [1]]])
    assert (_left_out(load_balance_loss, logits, idx) > 1e-8).all()


@mistake(*NO_VALUE)
def loss_test_of_the_gradient_of_all(load_balance_loss):
    logits = some().logits.requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert (logits.grad != 0).all()


@mistake(*NO_VALUE)
def loss_test_of_a_finite_gradient(load_balance_loss):
    logits = some().logits.requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert logits.grad.isfinite().all()


@mistake(*NO_VALUE)
def loss_test_of_the_sum_of_the_gradient(load_balance_loss):
    logits = some().logits.requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert close(logits.grad.sum(-1).abs().max(), 0)


@mistake(*NO_VALUE)
def loss_test_of_a_graph(load_balance_loss):
    assert load_balance_loss(stats_of(some().logits.requires_grad_())).requires_grad


FEW_EXPERTS = (
    loss_test_of_all_chosen,
    loss_test_of_all_chosen_with_equal_logits,
    loss_test_of_both_of_two,
    loss_test_of_the_same_experts,
    loss_test_of_the_same_experts_in_another_order,
    loss_test_of_the_same_expert,
    loss_test_of_sure_tokens,
    loss_test_of_the_gradient_left_out,
    loss_test_of_the_gradient_of_all,
    loss_test_of_a_finite_gradient,
    loss_test_of_the_sum_of_the_gradient,
    loss_test_of_a_graph,
)
