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
    "It refuses the sound pieces, and passes where neither the choice nor the weights change with the bias: it "
    "compares the weights of two calls in which other experts are chosen.",
    "For which K is the choice the same, whatever the bias?",
)
def router_test_of_another_choice(topk_route):
    bias = torch.tensor([-0.05, 0.35, 0.0, 0.0])
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    found = [topk_route(logits, each, CFG).weights for each in (torch.zeros(4), bias)]
    assert close(*found)


@mistake(
    "It refuses the sound pieces, and passes for one without the scaling factor, which is not 1 in its "
    "configuration.",
    "To what do the normalised weights of a token add up in your configuration, and in what you expect? "
    "`scaling_factor(cfg)` says it.",
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
    "It refuses other choices, and pieces whose weights do not sum to the scaling factor; it passes where all are "
    "weighed alike. In the broken piece choice and sum are right, and it looks at no single weight, or not closely.",
    RIGHT,
)
def router_test_of_choice_and_sum(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake(
    "It refuses other scores, and pieces whose weights do not sum to the scaling factor; it passes where all are "
    "weighed alike. In the broken piece scores and sum are right, and it looks at no single weight, or not closely.",
    RIGHT,
)
def router_test_of_scores_and_sum(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert close(found.scores, LOGITS.sigmoid())
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake(
    "It refuses other choices and other scores, and passes for zeros and negative weights. In the broken piece "
    "choice and scores are right.",
    RIGHT,
)
def router_test_of_choice_and_scores(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.scores, LOGITS.sigmoid())


@mistake(
    "It refuses other choices, other scores, and weights with another sum; it passes where all are weighed alike. "
    "In the broken piece all three are right, and it looks at no single weight, or not closely.",
    RIGHT,
)
def router_test_of_all_but_the_weights(topk_route):
    found = topk_route(LOGITS, BIAS, CFG)
    assert torch.equal(chosen(found), CHOSEN)
    assert close(found.scores, LOGITS.sigmoid())
    assert close(found.weights.sum(-1), torch.ones(1, 2))


@mistake(
    "It passes where all experts are weighed alike, and where there is no weight to ask: what it asks holds for "
    "every bias, as where every token has one expert. A single weight is divided by itself.",
    "How many experts must a token have for the bias to show in its weights?",
)
def router_test_of_one_expert(topk_route):
    found = topk_route(LOGITS, BIAS, replace(CFG, top_k=1))
    assert close(found.weights, shares(found, LOGITS.sigmoid()))


@mistake(
    "It passes for all pieces that were tried but those with negative weights, or nan, or nothing: it asks only "
    "that no weight is below 0, or a lower bound. In the broken piece none is.",
    "What should the weight of each chosen expert be, as a number?",
)
def router_test_of_no_sign(topk_route):
    assert (topk_route(LOGITS, torch.full((4,), -5.0), CFG).weights >= 0).all()


@mistake(
    "It passes for all pieces that were tried but those with negative weights, or without weights: it asks which "
    "expert has the largest weight, or which has more. In the broken piece it is the same one, for this bias.",
    "How large must a bias be to lift a weight over another one?",
)
def router_test_of_the_largest_weight(topk_route):
    found = topk_route(LOGITS[:, :1], torch.tensor([0.0, 0.05, 0.0, 0.0]), CFG)
    assert found.expert_idx[0, 0, found.weights[0, 0].argmax()] == 0


ALWAYS_THE_FACTOR = (
    "It passes for weights of zero, negative ones, and twice as large: it compares two calls of a piece, by "
    "something that is the same for every bias, as a weight at K = 1, or the sum of a token's weights.",
    "Which single weight changes with the bias in the piece above, for K = 2 or more, and does your test compare "
    "it?",
)


@mistake(
    "It refuses other choices, and passes where all experts are weighed alike: what it asks of the weights holds "
    "for every bias, as for a single weight per token, or for the sum. In the broken piece the choice is right.",
    "Which single weight changes with the bias in the piece above, for K = 2 or more, and does your test compare "
    "it?",
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


@mistake(
    "It refuses a sound piece that takes the last of equal experts: with its numbers some are equal, and it expects "
    "certain ones, or compares what other numbers give. Any of equal experts may be chosen.",
    "Which experts have the same score plus bias with your numbers, and does it matter which of them come back?",
)
def router_test_of_equal_experts(topk_route):
    found = topk_route(torch.zeros(1, 1, 4), torch.zeros(4), CFG)
    assert sorted(found.expert_idx.flatten().tolist()) == [0, 1]


@mistake(
    "It passes where all experts are weighed alike, and where the bias is not used: with its logits and its bias the "
    "chosen experts have equal weights in the broken piece too.",
    "Which two chosen experts should differ in their logits, or in their bias, for the fault to show?",
)
def router_test_of_equal_logits(topk_route):
    found = topk_route(torch.zeros(1, 3, 4), torch.full((4,), 0.3), CFG)
    assert close(found.weights, torch.full((1, 3, 2), 0.5))


MORE = (
    router_test_of_equal_experts,
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
    router_test_of_equal_logits,
)
