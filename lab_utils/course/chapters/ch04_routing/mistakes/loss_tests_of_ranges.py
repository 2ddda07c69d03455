"""More tests that cannot tell, of test_sound_loss, of notebook 04: even routers, ranges, gradients."""

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


@mistake(
    "With its router the broken piece gives the right 1 too: all tokens choose the same K experts. It is not enough "
    "that the probabilities are equal.",
    "Which experts does your `expert_idx` name? An even router uses all of them.",
)
def loss_test_of_two_busy_experts(load_balance_loss):
    both = torch.tensor([0, 1]).expand(1, 4, 2)
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), both)), 1)


PAIRS = torch.tensor([[[0, 1], [1, 2], [2, 3], [3, 0]]])  # an even load, K = 2


@mistake(
    "It refuses the sound pieces, and passes for one that counts K times as much, as it is where the counts are "
    "divided by the tokens. An even router has 1, and one that is sure of the same K experts for all has E/K.",
    "Which loss has your router by the formula? What do the shares f_i sum to, for K = 2?",
)
def loss_test_of_an_even_k(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), PAIRS)), 2)


@mistake(
    "It refuses the sound pieces, and passes for the broken ones and for one without the factor E: it expects their "
    "number. A sound piece gives 1 for an even router.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_of_an_even_share(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), EVEN)), 0.25)


@mistake(
    "It refuses the sound pieces, and passes for the broken ones and for half the loss: it expects their number, as "
    "K/E for an even router. A sound piece gives 1 there.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_of_an_even_share_of_k(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), PAIRS)), 0.5)


@mistake(
    "It refuses sound pieces and passes for larger numbers: it asks for more than this loss is with its router, as "
    "for 1. Where the choices go against the probabilities a sound piece gives less than 1.",
    "Which loss has your router by the formula, and which has an even one?",
)
def loss_test_of_at_least_one_with_one_choice(load_balance_loss):
    logits = torch.tensor([[[2.0, 1.0, 0.0, 0.0], [0.0, 2.0, 1.0, 0.0]]])
    assert load_balance_loss(stats_of(logits, torch.tensor([[[2], [3]]]))) >= 1


@mistake(
    "It passes for half the loss, and refuses zero and what is far off: it asks for a range, or its tolerance is "
    "wide. The loss of the broken piece lies within it.",
    COMPARE,
)
def loss_test_of_an_open_range(load_balance_loss):
    assert 0 < load_balance_loss(some()).item() < 4


@mistake(
    "It refuses a piece that takes P from sigmoids, and passes for zero and the negative: it compares results of a "
    "piece for logits whose softmax is the same. The broken piece uses a softmax too.",
    COMPARE,
)
def loss_test_of_shifted_logits(load_balance_loss):
    one, other = (load_balance_loss(stats_of(some().logits + by, some().expert_idx)) for by in (0.0, 3.0))
    assert torch.allclose(one, other, atol=1e-5)


@mistake(
    "It refuses sound pieces whose loss is off in the last digit, and passes for one that says 1 to every router: "
    "it leaves less room than rounding takes. Where 1/E is rounded, a sound piece may give 0.9999999.",
    "How far from 1 may a sound piece be, and how far from it does your test let it be?",
)
def loss_test_for_an_exact_one(load_balance_loss):
    third = torch.arange(6).remainder(3).view(1, 6, 1)
    assert load_balance_loss(stats_of(torch.zeros(1, 6, 3), third)).item() == 1


TOO_LOW = (
    "It passes for zero and for the negative: it asks only that the loss is not too large, or its tolerance is "
    "wide. The broken piece never gives more than a sound one.",
    COMPARE,
)
TOO_HIGH = (
    "It passes for a thousand times as much: it asks only that the loss is not too small. That of the broken piece "
    "is large enough for it.",
    COMPARE,
)
ROOM = (
    "It passes for a loss that is 2 % too small, and for that of the piece above: it leaves more room than lies "
    "between them and the right one, be it by a wide tolerance or by a range.",
    "How far apart are the right number and that of the piece above, with your router, and how much room do you "
    "leave?",
)


@mistake(*TOO_LOW)
def loss_test_of_a_low_bound(load_balance_loss):
    assert load_balance_loss(some()) < 1.3


@mistake(*TOO_LOW)
def loss_test_of_at_most_one(load_balance_loss):
    assert load_balance_loss(stats_of(torch.zeros(1, 4, 4), EVEN)) < 1.001


@mistake(*TOO_HIGH)
def loss_test_of_a_large_collapse(load_balance_loss):
    collapsed = torch.tensor([[[10.0, 0.0, 0.0, 0.0]] * 4])
    assert load_balance_loss(stats_of(collapsed, 0 * EVEN)) > 3.9


@mistake(*TOO_HIGH)
def loss_test_of_a_collapse_above_one(load_balance_loss):
    collapsed = torch.tensor([[[10.0, 0.0, 0.0, 0.0]] * 4])
    assert load_balance_loss(stats_of(collapsed, 0 * EVEN)) > 1


@mistake(*TOO_HIGH)
def loss_test_of_the_least(load_balance_loss):
    assert load_balance_loss(stats_of(torch.zeros(1, 4, 4), 0 * EVEN)) >= 0.9999


@mistake(
    "It passes for half the loss, and refuses zero and what is far off: it asks for a range, or its tolerance is "
    "wide. The loss of the broken piece lies within it.",
    COMPARE,
)
def loss_test_of_zero_to_one(load_balance_loss):
    assert 0 < load_balance_loss(stats_of(torch.zeros(1, 4, 4), PAIRS)).item() < 1.001


@mistake(*ROOM)
def loss_test_with_half_a_unit_of_room(load_balance_loss):
    assert abs(load_balance_loss(some()).item() - loss_by_formula(some()).item()) < 0.5


@mistake(*ROOM)
def loss_test_of_a_collapse_with_room(load_balance_loss):
    collapsed = torch.tensor([[[6.0, 0.0, 0.0, 0.0]] * 4])
    assert abs(load_balance_loss(stats_of(collapsed, 0 * EVEN)).item() - 4) < 0.2


MORE = (
    loss_test_of_two_busy_experts,
    loss_test_of_an_even_k,
    loss_test_of_an_even_share,
    loss_test_of_an_even_share_of_k,
    loss_test_of_at_least_one_with_one_choice,
    loss_test_of_an_open_range,
    loss_test_of_shifted_logits,
    loss_test_for_an_exact_one,
    loss_test_of_a_low_bound,
    loss_test_of_at_most_one,
    loss_test_of_a_large_collapse,
    loss_test_of_a_collapse_above_one,
    loss_test_of_the_least,
    loss_test_of_zero_to_one,
    loss_test_with_half_a_unit_of_room,
    loss_test_of_a_collapse_with_room,
)
