"""More tests that cannot tell, of test_sound_loss, of notebook 04: even routers, ranges, gradients."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.loss_inputs import COMPARE, EVEN, close, some, stats_of
from lab_utils.course.exercise import mistake


@mistake(
    "Equal probabilities are not enough: with all tokens at the same K experts the broken piece gives 1 as well.",
    "Which experts does your `expert_idx` name? An even router uses all of them.",
)
def loss_test_of_two_busy_experts(load_balance_loss):
    both = torch.tensor([0, 1]).expand(1, 4, 2)
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), both)), 1)


PAIRS = torch.tensor([[[0, 1], [1, 2], [2, 3], [3, 0]]])  # an even load, K = 2


@mistake(
    "The test expects K for an even router, which comes out where the counts are divided by the tokens. It is 1.",
    "What do the shares f_i sum to, for K = 2?",
)
def loss_test_of_an_even_k(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), PAIRS)), 2)


@mistake(
    "The test expects of an even router what the broken piece gives. A sound one gives 1.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_of_an_even_share(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), EVEN)), 0.25)


@mistake(
    "The test expects of an even router what the broken piece gives, K/E. A sound one gives 1.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_of_an_even_share_of_k(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), PAIRS)), 0.5)


@mistake(
    "The test expects a loss of at least 1. Where the choices go against the probabilities a sound piece gives less.",
    COMPARE,
)
def loss_test_of_at_least_one_with_one_choice(load_balance_loss):
    logits = torch.tensor([[[2.0, 1.0, 0.0, 0.0], [0.0, 2.0, 1.0, 0.0]]])
    assert load_balance_loss(stats_of(logits, torch.tensor([[[2], [3]]]))) >= 1


@mistake(
    "The test asks whether every number of the gradient is other than 0. It is in the broken piece too.",
    COMPARE,
)
def loss_test_of_the_gradient_of_all(load_balance_loss):
    logits = some().logits.requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert (logits.grad != 0).all()


@mistake(
    "The test asks whether the loss lies in a range. That of the broken piece does.",
    COMPARE,
)
def loss_test_of_an_open_range(load_balance_loss):
    assert 0 < load_balance_loss(some()).item() < 4


@mistake(
    "The test adds a number to all logits of a token, which a softmax does not see. The broken piece does not see it "
    "either.",
    COMPARE,
)
def loss_test_of_shifted_logits(load_balance_loss):
    one, other = (load_balance_loss(stats_of(some().logits + by, some().expert_idx)) for by in (0.0, 3.0))
    assert torch.allclose(one, other, atol=1e-5)


@mistake(
    "The test compares the loss with 1 without a tolerance. Where 1/E is rounded, a sound piece may give 0.9999999.",
    "Compare with a tolerance.",
)
def loss_test_for_an_exact_one(load_balance_loss):
    third = torch.arange(6).remainder(3).view(1, 6, 1)
    assert load_balance_loss(stats_of(torch.zeros(1, 6, 3), third)).item() == 1


MORE = (
    loss_test_of_two_busy_experts,
    loss_test_of_an_even_k,
    loss_test_of_an_even_share,
    loss_test_of_an_even_share_of_k,
    loss_test_of_at_least_one_with_one_choice,
    loss_test_of_the_gradient_of_all,
    loss_test_of_an_open_range,
    loss_test_of_shifted_logits,
    loss_test_for_an_exact_one,
)
