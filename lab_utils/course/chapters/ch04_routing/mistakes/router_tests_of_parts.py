"""More tests that cannot tell, of test_sound_router, of notebook 04: they look at what is right in the broken piece."""

from dataclasses import replace

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.router_inputs import (
    BIAS,
    CFG,
    LOGITS,
    chosen,
    close,
    shares,
)
from lab_utils.course.exercise import mistake
from nanokimi.config import MoEConfig


@mistake(
    "The test compares the weights of two calls whose biases choose other experts. Where the choice changes, the "
    "weights must change with it.",
    "For which K is the choice the same, whatever the bias?",
)
def router_test_of_another_choice(topk_route):
    bias = torch.tensor([-0.05, 0.35, 0.0, 0.0])
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    found = [topk_route(logits, each, CFG).weights for each in (torch.zeros(4), bias)]
    assert close(*found)


@mistake(
    "The test expects the weights without the scaling factor, which is not 1 in its configuration.",
    "To what do the normalised weights of a token add up in your configuration? `scaling_factor(cfg)` says it.",
)
def router_test_without_the_factor(topk_route):
    found = topk_route(LOGITS, BIAS, MoEConfig(n_routed_experts=4, top_k=2))
    assert close(found.weights, shares(found, LOGITS.sigmoid()))


@mistake(
    "It passes for the broken piece, whose weights sum to the scaling factor, and refuses pieces whose weights do not. "
    "So does a test of the sum, and one whose bias moves no weight beyond its tolerance.",
    "Each single weight should be its expert's score, divided by the sum of the chosen scores, times the factor.",
)
def router_test_of_a_larger_sum(topk_route):
    found = topk_route(LOGITS, BIAS, replace(CFG, routed_scaling_factor=2.0))
    assert close(found.weights.sum(-1), torch.full((1, 2), 2.0))


RIGHT = "What should the weight of each chosen expert be, as a number?"
CHOSEN = torch.tensor([[[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])


@mistake(
    "The test asks for the choice and for the sum of the weights. Both are right in the broken piece.", RIGHT
)
def router_test_of_choice_and_sum(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake(
    "The test asks for the scores and for the sum of the weights. Both are right in the broken piece.", RIGHT
)
def router_test_of_scores_and_sum(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert close(found.scores, LOGITS.sigmoid())
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake("The test asks for the choice and for the scores. Both are right in the broken piece.", RIGHT)
def router_test_of_choice_and_scores(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.scores, LOGITS.sigmoid())


@mistake(
    "The test asks for the choice, the scores and the sum of the weights. All three are right in the broken piece.",
    RIGHT,
)
def router_test_of_all_but_the_weights(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.scores, LOGITS.sigmoid())
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake(
    "In the test every token has one expert. A single weight is divided by itself: it is the scaling factor, whatever "
    "the bias is.",
    "How many experts must a token have for the bias to show in its weights?",
)
def router_test_of_one_expert(topk_route):
    found = topk_route(LOGITS, BIAS, replace(CFG, top_k=1))
    assert close(found.weights, shares(found, LOGITS.sigmoid()))


@mistake(
    "The test asks only that no weight is below 0. In the broken piece none is.",
    "What should the weight of each chosen expert be, as a number?",
)
def router_test_of_no_sign(topk_route):
    assert (topk_route(LOGITS, torch.full((4,), -5.0), CFG).weights >= 0).all()


@mistake(
    "The test asks only which expert has the largest weight. In the broken piece it is the same one, for this bias.",
    "How large must a bias be to lift a weight over another one?",
)
def router_test_of_the_largest_weight(topk_route):
    found = topk_route(LOGITS[:, :1], torch.tensor([0.0, 0.05, 0.0, 0.0]), CFG)
    assert found.expert_idx[0, 0, found.weights[0, 0].argmax()] == 0


ALWAYS_THE_FACTOR = (
    "The test compares two calls by their weights at K = 1, or by the sum of a token's weights. Both are the scaling "
    "factor for every bias, in the broken piece too.",
    "Take K = 2 or more. Which single weight changes with the bias in the piece above?",
)


@mistake(
    "The test asks for the choice, and for the weights at K = 1 or for their sum. A single weight is divided by "
    "itself: both are the scaling factor, whatever the bias is.",
    "Take K = 2 or more. Which single weight changes with the bias in the piece above?",
)
def router_test_of_one_expert_and_the_choice(topk_route):
    found = topk_route(LOGITS, BIAS, replace(CFG, top_k=1))
    assert found.expert_idx.flatten().tolist() == [2, 3]
    assert close(found.weights, torch.ones(1, 2, 1))


@mistake(*ALWAYS_THE_FACTOR)
def router_test_of_one_expert_in_two_calls(topk_route):
    found = [topk_route(LOGITS, bias, replace(CFG, top_k=1)).weights for bias in (0 * BIAS, BIAS)]
    assert close(*found)


@mistake(*ALWAYS_THE_FACTOR)
def router_test_of_one_other_expert_in_two_calls(topk_route):
    one, other = (topk_route(LOGITS[:, :1], bias, replace(CFG, top_k=1)) for bias in (0 * BIAS, 2 * BIAS))
    assert one.expert_idx.item() == 0 and other.expert_idx.item() == 2
    assert close(one.weights, other.weights)


EQUAL_BITS = (
    "The test refuses a sound router whose weights differ in the last digit: it asks for equal bits.",
    "Compare with a tolerance: torch.allclose, for instance.",
)


@mistake(*EQUAL_BITS)
def router_test_of_equal_bits(topk_route):
    found = topk_route(torch.tensor([[[2.0, 0.0, -1.0, 1.0]]]), torch.tensor([-0.05, 0.35, 0.0, 0.0]), CFG)
    s = found.scores.gather(-1, found.expert_idx)
    assert torch.equal(found.weights, s / s.sum(dim=-1, keepdim=True))


@mistake(*EQUAL_BITS)
def router_test_of_equal_bits_of_many(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    s = found.scores.gather(-1, found.expert_idx)
    assert torch.equal(found.weights, s / s.sum(dim=-1, keepdim=True))


@mistake(*EQUAL_BITS)
def router_test_of_equal_bits_by_expert(topk_route):
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    found = topk_route(logits, BIAS, CFG)
    s = logits.sigmoid().gather(-1, found.expert_idx)
    assert torch.equal(found.weights, s / s.sum(dim=-1, keepdim=True))


MORE = (
    router_test_of_equal_bits_of_many,
    router_test_of_equal_bits_by_expert,
    router_test_of_equal_bits,
    router_test_of_another_choice,
    router_test_without_the_factor,
    router_test_of_a_larger_sum,
    router_test_of_choice_and_sum,
    router_test_of_scores_and_sum,
    router_test_of_choice_and_scores,
    router_test_of_all_but_the_weights,
    router_test_of_one_expert,
    router_test_of_one_expert_and_the_choice,
    router_test_of_one_expert_in_two_calls,
    router_test_of_one_other_expert_in_two_calls,
    router_test_of_no_sign,
    router_test_of_the_largest_weight,
)
