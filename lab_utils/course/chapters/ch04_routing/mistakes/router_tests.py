"""Tests that cannot tell: the known wrong answers to test_sound_router, of notebook 04."""

from dataclasses import replace

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.router_inputs import (
    BIAS,
    CFG,
    EVERYBODY,
    LOGITS,
    by_expert,
    chosen,
    close,
    shares,
)
from lab_utils.course.chapters.ch04_routing.mistakes.router_tests_of_parts import MORE
from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake
from lab_utils.course.probes import (
    EXPECTS_THE_BROKEN,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)


@mistake(*LOOKS_AT_NOTHING)
def router_test_that_never_fails(topk_route):
    topk_route(LOGITS, BIAS, CFG)


@mistake(*LOOKS_AT_NO_NUMBER)
def router_test_of_the_kind(topk_route):
    assert topk_route(LOGITS, BIAS, CFG) is not None


@mistake(*REFUSES_EVERYTHING)
def router_test_that_always_fails(topk_route):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def router_test_of_the_shape(topk_route):
    assert topk_route(LOGITS, BIAS, CFG).weights.shape == (1, 2, 2)


@mistake(
    "It passes for all pieces that were tried but those with nan, or that give nothing: it asks for finite "
    "numbers, or compares results of a piece with each other. Those of the broken piece are finite, and agree or "
    "nearly so.",
    "What should the weight of each chosen expert be, as a number, and how closely do you ask for it?",
)
def router_test_of_finite_numbers(topk_route):
    assert topk_route(LOGITS, BIAS, CFG).weights.isfinite().all()


@mistake(
    "It passes for pieces that use the bias in the wrong place, or nowhere: in it the bias is 0, or moves no weight "
    "beyond its tolerance.",
    "Which argument must be something else for the defect to show, and by how much?",
)
def router_test_without_bias(topk_route):
    found = topk_route(LOGITS, torch.zeros(4), CFG)
    assert close(found.weights, shares(found, LOGITS.sigmoid()))


@mistake(
    "It passes for all pieces that were tried but those with weights of nan, or without weights. So does a test of "
    "two results of a piece that are equal within its tolerance, be it that the biases are small or alike, or the "
    "tolerance wide.",
    "Which weight changes with the bias in the piece above, by how much, and would your test see it?",
)
def router_test_of_a_tiny_bias(topk_route):
    without = topk_route(LOGITS, torch.zeros(4), CFG)
    assert torch.allclose(
        by_expert(without), by_expert(topk_route(LOGITS, torch.full((4,), 1e-6), CFG)), atol=1e-3
    )


@mistake(
    "It passes for the broken piece, whose weights sum to the scaling factor, and refuses pieces whose weights do not. "
    "So does a test of the sum, one with a single weight per token, and one whose bias moves no weight beyond its "
    "tolerance.",
    "Each single weight should be its expert's score, divided by the sum of the chosen scores. How far from that is "
    "each weight of the broken piece, with your numbers, and how far may it be?",
)
def router_test_of_the_sum(topk_route):
    assert close(topk_route(LOGITS, BIAS, CFG).weights.sum(-1), torch.ones(1, 2))


@mistake(
    "It passes for weights of any size, and refuses those of zero, negative ones and nan: it asks for the sign of "
    "the weights, or for a bound. The broken piece keeps to it.",
    "What should the weight of each chosen expert be, as a number?",
)
def router_test_of_the_sign(topk_route):
    assert (topk_route(LOGITS, BIAS, CFG).weights > 0).all()


@mistake(
    "It refuses a piece that chooses without the bias, and passes for every other: it asks which experts are "
    "chosen. In the piece above the choice is right.",
    "What else does a router give back, which the bias must not change?",
)
def router_test_of_the_choice(topk_route):
    right = torch.tensor([[[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])
    assert torch.equal(chosen(topk_route(LOGITS, BIAS, CFG)), right)


@mistake(
    "It refuses the sound pieces, and passes for one that chooses without the bias. To change the choice is what "
    "the bias is for.",
    "What may the bias change, and what must it leave alone?",
)
def router_test_of_the_choice_without_bias(topk_route):
    right = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]])
    assert torch.equal(chosen(topk_route(LOGITS, BIAS, CFG)), right)


@mistake(
    "It refuses a piece whose scores hold the bias, and passes for wrong weights and choices: it asks for the "
    "scores that come back. Those of the piece above are right.",
    "Which of the four tensors is wrong in the piece above?",
)
def router_test_of_the_scores(topk_route):
    assert close(topk_route(LOGITS, BIAS, CFG).scores, LOGITS.sigmoid())


@mistake(
    "It refuses a sound piece that names the chosen experts in the reverse order: it expects the experts, or their "
    "weights, in one order, and a token's experts may stand in any.",
    "How can a weight be looked up by its expert?",
)
def router_test_of_an_order(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    best = (LOGITS.sigmoid() + BIAS).topk(2).indices
    weights = LOGITS.sigmoid().gather(-1, best)
    assert close(found.weights, weights / weights.sum(dim=-1, keepdim=True))


@mistake(
    "It refuses the sound pieces, and passes for one that names experts in the order of their numbers: it compares "
    "weights of two calls place by place, and the experts may stand in another order in each.",
    "How can a weight be looked up by its expert?",
)
def router_test_place_by_place(topk_route):
    without = topk_route(LOGITS, torch.zeros(4), EVERYBODY)
    assert close(without.weights, topk_route(LOGITS, BIAS, EVERYBODY).weights)


@mistake(
    "It refuses the sound pieces, and passes for one that does not normalise: it expects the scores themselves as "
    "weights.",
    "What do the weights of a token sum to?",
)
def router_test_without_normalising(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert close(found.weights, LOGITS.sigmoid().gather(-1, found.expert_idx))


@mistake(
    "It refuses the sound pieces, and passes for one that weighs all alike: it expects the same weight for every "
    "expert.",
    "Two chosen scores of 0.9 and 0.3: which weights follow?",
)
def router_test_of_equal_weights(topk_route):
    assert close(topk_route(LOGITS, BIAS, EVERYBODY).weights, torch.full((1, 2, 4), 0.25))


@mistake(
    "It passes for all pieces that were tried but those without a gradient, or without weights. In the piece above "
    "a gradient comes back too.",
    "What should the weight of each chosen expert be, as a number?",
)
def router_test_of_the_gradient(topk_route):
    logits = LOGITS.clone().requires_grad_()
    topk_route(logits, BIAS, CFG).weights[..., 0].sum().backward()
    assert logits.grad is not None


@mistake(*EXPECTS_THE_BROKEN)
def router_test_of_the_broken_numbers(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert close(found.weights, shares(found, LOGITS.sigmoid() + BIAS))


@mistake(*REFUSES_THE_RIGHT)
def router_test_upside_down(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert not close(found.weights, shares(found, LOGITS.sigmoid()))


@mistake(
    "It refuses a piece without the scaling factor, and passes for weights of zero and negative ones: it asks how "
    "the weights change with that factor. The broken piece multiplies by it as well.",
    "Which argument must change for the defect to show, and what must stay the same?",
)
def router_test_of_the_factor(topk_route):
    one, two = (topk_route(LOGITS, BIAS, replace(CFG, routed_scaling_factor=f)) for f in (1.0, 2.0))
    assert close(2 * one.weights, two.weights)


@mistake(
    "It refuses the core's router, and passes for a sound one that names the chosen experts in the reverse order: it "
    "expects the experts, or their weights, in one order, and a token's experts may stand in any.",
    "How can a weight be looked up by its expert?",
)
def router_test_of_the_order_of_scores(topk_route):
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    found = topk_route(logits, torch.tensor([-0.05, 0.35, 0.0, 0.0]), CFG)
    best = logits[..., :2].sigmoid()
    assert close(found.weights, best / best.sum())


@mistake(
    "It refuses the piece above, and passes for the same fault in a piece that also knows groups and softmax: it "
    "asks for one of these, or for another thing that the two do not share.",
    "What goes wrong with sigmoids and one group, and for which bias?",
)
def router_test_of_softmax(topk_route):
    found = topk_route(LOGITS, torch.zeros(4), replace(CFG, scoring="softmax"))
    assert close(found.scores, LOGITS.softmax(dim=-1))


ROUTER_TESTS = (
    router_test_that_never_fails,
    router_test_of_the_kind,
    router_test_that_always_fails,
    router_test_of_the_shape,
    router_test_of_finite_numbers,
    router_test_without_bias,
    router_test_of_a_tiny_bias,
    router_test_of_the_sum,
    router_test_of_the_sign,
    router_test_of_the_choice,
    router_test_of_the_choice_without_bias,
    router_test_of_the_scores,
    router_test_of_an_order,
    router_test_place_by_place,
    router_test_without_normalising,
    router_test_of_equal_weights,
    router_test_of_the_gradient,
    router_test_of_the_broken_numbers,
    router_test_upside_down,
    router_test_of_the_factor,
    router_test_of_the_order_of_scores,
    router_test_of_softmax,
    *MORE,
)
