"""Tests that cannot tell: the known wrong answers to test_sound_loss, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.loss_inputs import (
    COMPARE,
    EVEN,
    close,
    loss_by_formula,
    some,
    stats_of,
)
from lab_utils.course.chapters.ch04_routing.mistakes.loss_tests_of_few_experts import FEW_EXPERTS
from lab_utils.course.chapters.ch04_routing.mistakes.loss_tests_of_ranges import MORE
from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    COMPARES_WITH_ITSELF,
    EXPECTS_THE_BROKEN,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
from nanokimi.router import RouterStats


@mistake(*LOOKS_AT_NOTHING)
def loss_test_that_never_fails(load_balance_loss):
    load_balance_loss(some())


@mistake(*LOOKS_AT_NO_NUMBER)
def loss_test_of_the_kind(load_balance_loss):
    assert load_balance_loss(some()) is not None


@mistake(*REFUSES_EVERYTHING)
def loss_test_that_always_fails(load_balance_loss):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def loss_test_of_the_shape(load_balance_loss):
    assert load_balance_loss(some()).shape == ()


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def loss_test_of_finite_numbers(load_balance_loss):
    assert load_balance_loss(some()).isfinite().all()


@mistake(
    "With its router the broken piece gives the right number too, within its tolerance: the experts that a token "
    "leaves out have no probability, as in a collapsed router.",
    "Which part of P does the piece above lose, and how large is it with your router? For which router is the loss "
    "exactly 1?",
)
def loss_test_of_collapse(load_balance_loss):
    collapsed = torch.tensor([[[30.0, 0.0, 0.0, 0.0]] * 3])
    assert close(load_balance_loss(stats_of(collapsed, torch.zeros(1, 3, 1, dtype=torch.long))), 4)


@mistake(
    "With its router the broken piece gives the right 1 too: all tokens choose the same expert. It is not enough "
    "that the probabilities are equal.",
    "Which experts does your `expert_idx` name? An even router uses all of them.",
)
def loss_test_of_one_busy_expert(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), 0 * EVEN)), 1)


@mistake(
    "It passes for half the loss and for its negative, and not for pieces without a gradient, or with one of 0: it "
    "asks whether a gradient comes back. It does so in the broken piece too.",
    COMPARE,
)
def loss_test_of_the_gradient(load_balance_loss):
    logits = some().logits.requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert logits.grad.abs().sum() > 0


@mistake(
    "It passes for half the loss and for its negative, and refuses a gradient with the other sign: it asks whether "
    "the loss falls along its gradient. That of the broken piece falls too.",
    COMPARE,
)
def loss_test_of_falling(load_balance_loss):
    logits = some().logits.requires_grad_()
    before = load_balance_loss(stats_of(logits))
    (gradient,) = torch.autograd.grad(before, logits)
    assert load_balance_loss(stats_of(logits.detach() - 0.1 * gradient)) < before


@mistake(
    "It passes for half the loss and a thousand times as much, and refuses zero and the negative: it asks whether "
    "the loss is positive. That of the broken piece is.",
    COMPARE,
)
def loss_test_of_the_sign(load_balance_loss):
    assert load_balance_loss(some()) > 0


@mistake(
    "It passes for half the loss and a thousand times as much, and refuses a piece that says 1 to every router: it "
    "asks which router has more. The broken piece puts them in the same order.",
    COMPARE,
)
def loss_test_of_the_order(load_balance_loss):
    even = stats_of(torch.eye(4)[None], EVEN)
    collapsed = stats_of(torch.tensor([[[9.0, 0.0, 0.0, 0.0]] * 4]), 0 * EVEN)
    assert load_balance_loss(even) < load_balance_loss(collapsed)


@mistake(
    "It passes for zero and for half the loss, and refuses what is far off: it asks for a range, or its tolerance "
    "is wide. The loss of the broken piece lies within it.",
    COMPARE,
)
def loss_test_of_a_range(load_balance_loss):
    assert 0 <= load_balance_loss(some()).item() <= 4


@mistake(
    "It refuses the sound pieces, and passes for one that gives zero: it expects 0. The loss of an even router is "
    "1.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_of_an_even_zero(load_balance_loss):
    assert close(load_balance_loss(stats_of(torch.zeros(1, 4, 4), EVEN)), 0)


@mistake(
    "It refuses the sound pieces, and passes for one without the factor E.",
    "E experts, f = P = 1/E: what is E · sum f P?",
)
def loss_test_without_the_factor(load_balance_loss):
    assert close(load_balance_loss(some()), loss_by_formula(some()) / 4)


@mistake(
    "It refuses the sound pieces, and passes for one that counts K times as much, as it is where the counts are "
    "divided by the tokens. With K choices per token there are tokens · K of them.",
    "What do the shares f_i in your formula sum to?",
)
def loss_test_with_shares_of_tokens(load_balance_loss):
    assert close(load_balance_loss(some()), 2 * loss_by_formula(some()))


@mistake(
    "It refuses the sound pieces, and passes for one that takes P from the sigmoids, as `stats.scores` has them. "
    "This loss is defined on the softmax of the logits.",
    "What do the P_i sum to, in what you expect?",
)
def loss_test_of_sigmoids(load_balance_loss):
    assert close(load_balance_loss(some()), loss_by_formula(some(), some().scores))


@mistake(
    "It refuses the sound pieces, and passes for one that measures each sequence by itself. This loss takes all "
    "tokens of the batch together.",
    "Over which tokens is P_i the mean?",
)
def loss_test_by_sequence(load_balance_loss):
    each = [loss_by_formula(RouterStats(*(part[i : i + 1] for part in some()))) for i in range(2)]
    assert close(load_balance_loss(some()), sum(each) / 2)


@mistake(
    "It refuses the sound pieces, and passes for one that counts the first choice of each token only.",
    "How many choices does `expert_idx` hold?",
)
def loss_test_of_first_choices(load_balance_loss):
    assert close(load_balance_loss(some()), loss_by_formula(some(), idx=some().expert_idx[..., 0]))


@mistake(*EXPECTS_THE_BROKEN)
def loss_test_of_the_broken_numbers(load_balance_loss):
    kept = torch.zeros(2, 5, 4).scatter(-1, some().expert_idx, 1.0)
    assert close(load_balance_loss(some()), loss_by_formula(some(), kept * some().logits.softmax(dim=-1)))


@mistake(*LEAVES_MUCH_ROOM)
def loss_test_with_much_room(load_balance_loss):
    assert abs(load_balance_loss(some()).item() - loss_by_formula(some()).item()) < 5


@mistake(*REFUSES_THE_RIGHT)
def loss_test_upside_down(load_balance_loss):
    assert not close(load_balance_loss(some()), loss_by_formula(some()))


@mistake(*COMPARES_WITH_ITSELF)
def loss_test_of_repetition(load_balance_loss):
    assert torch.equal(load_balance_loss(some()), load_balance_loss(some()))


@mistake(
    "It refuses sound pieces and passes for larger numbers: it asks for more than this loss is with its router, as "
    "for 1. Where the choices go against the probabilities a sound piece gives less than 1.",
    "Which loss has your router by the formula, and which has an even one?",
)
def loss_test_of_at_least_one(load_balance_loss):
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0], [0.0, 3.0, 1.0, 1.0]]])
    assert load_balance_loss(stats_of(logits, torch.tensor([[[0, 2], [2, 3]]]))) >= 1


@mistake(
    "It refuses the sound pieces, and passes for the broken ones: it asks that no number of the gradient is 0. A "
    "sound one has a 0 where an expert's share is the mean of all shares, weighted by the token's probabilities.",
    COMPARE,
)
def loss_test_of_a_gradient_everywhere(load_balance_loss):
    # The shares are 1/4, 1/4, 0 and 1/2. The second token likes experts 2 and 3 alike: its weighted mean is 1/4.
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0], [0.0, 3.0, 1.0, 1.0]]], requires_grad=True)
    load_balance_loss(stats_of(logits, torch.tensor([[[0, 3], [1, 3]]]))).backward()
    assert not (logits.grad.abs() < 1e-4).any()


LOSS_TESTS = (
    loss_test_that_never_fails,
    loss_test_of_the_kind,
    loss_test_that_always_fails,
    loss_test_of_the_shape,
    loss_test_of_finite_numbers,
    loss_test_of_collapse,
    loss_test_of_one_busy_expert,
    loss_test_of_the_gradient,
    loss_test_of_falling,
    loss_test_of_the_sign,
    loss_test_of_the_order,
    loss_test_of_a_range,
    loss_test_of_an_even_zero,
    loss_test_without_the_factor,
    loss_test_with_shares_of_tokens,
    loss_test_of_sigmoids,
    loss_test_by_sequence,
    loss_test_of_first_choices,
    loss_test_of_the_broken_numbers,
    loss_test_with_much_room,
    loss_test_upside_down,
    loss_test_of_repetition,
    loss_test_of_at_least_one,
    loss_test_of_a_gradient_everywhere,
    *FEW_EXPERTS,
    *MORE,
)
