"""The exercises of notebook 04: who gets which token, and how the load stays even."""

import torch

from lab_utils.course.chapters.ch04_routing import bugs, cases, hunts
from lab_utils.course.chapters.ch04_routing.mistakes import balance, load, routing
from lab_utils.course.chapters.ch04_routing.mistakes import dispatch as sending
from lab_utils.course.chapters.ch04_routing.mistakes import weak_tests as routing_tests
from lab_utils.course.exercise import Case, Exercise, Property, verdict
from nanokimi.config import MoEConfig
from nanokimi.moe import dispatch
from nanokimi.router import (
    derived_scaling_factor,
    expert_load,
    load_balance_loss,
    max_violation,
    sequence_balance_loss,
    topk_route,
    update_expert_bias_,
)


def test_sound_router(topk_route) -> None:
    """K = E: everybody is chosen whatever the bias, so no weight may move with it."""
    cfg = MoEConfig(n_routed_experts=3, top_k=3, routed_scaling_factor=1.0)
    logits = torch.tensor([[[1.0, 0.0, -1.0]]])
    without = topk_route(logits, torch.zeros(3), cfg)
    with_bias = topk_route(logits, torch.tensor([0.0, 0.5, -0.5]), cfg)

    def weights(stats):
        return stats.weights[0, 0][stats.expert_idx[0, 0].argsort()]

    assert torch.allclose(weights(without), weights(with_bias), atol=1e-5)


def test_sound_loss(load_balance_loss) -> None:
    """Equal logits, and choices that go round all four experts: the loss of an even router is exactly 1."""
    stats = cases.stats_from(torch.zeros(1, 4, 4), top_k=1)
    even = stats._replace(expert_idx=torch.arange(4).view(1, 4, 1))
    assert abs(load_balance_loss(even).item() - 1) < 1e-5


def test_sound_capacity(dispatch) -> None:
    """Every token to expert 0: a token's result must not depend on how many others chose the same expert."""
    bank = cases.bank_of(4, 2, 3)
    x, idx, weights = torch.ones(32, 2), torch.zeros(32, 1, dtype=torch.long), torch.ones(32, 1)
    alone = dispatch(x[:1], idx[:1], weights[:1], bank)
    assert torch.allclose(dispatch(x, idx, weights, bank), alone.expand(32, -1), atol=1e-5)


FROM_LOAD = Property(
    "the counts sum to tokens · K", lambda parts, idx, n: int(parts["result"].sum()) == idx.numel()
)
EVEN = Property("an even router gives exactly 1", cases.one_when_even)
FLOWS = Property("a gradient reaches the logits", cases.gradient_flows)

EXERCISES = (
    Exercise(
        name="topk_route",
        notebook="04",
        core=topk_route,
        cases=cases.route_cases,
        observe=cases.observe_route,
        mistakes=routing.TOPK_ROUTE,
        properties=(
            Property("the weights of a token sum to the scaling factor", cases.weights_sum_to_the_factor),
            Property("with every expert chosen the bias changes nothing", cases.no_bias_when_all_are_chosen),
        ),
        hints=(
            "Five lines: float32, scores, choose by scores + bias, weights from the scores, normalise and scale.",
            "The biased scores are used for .topk(...).indices alone; where do the weights come from?",
            "scores.gather(-1, expert_idx) gives the weights; divide by their sum, times scaling_factor(cfg).",
        ),
        moral="The bias decides who speaks; the score decides how loudly. Mixing the two distorts every output.",
    ),
    Exercise(
        name="derived_scaling_factor",
        notebook="04",
        core=derived_scaling_factor,
        cases=cases.factor_cases,
        mistakes=routing.DERIVED_SCALING_FACTOR,
        tolerance=1e-6,
        hints=(
            "Draw Gaussian logits, take sigmoids, keep the best K, normalise: that is a vector p. What is 1/||p||?",
            "Draw (1000, n_experts) in float64 at a time, as often as it takes, from one generator with seed 0.",
            "p = s.topk(top_k).values; p = p / p.sum(-1, keepdim=True); the mean of 1 / p.norm(dim=-1).",
        ),
        moral="K independent vectors with weights p add up to a length of ||p||; the factor undoes that.",
    ),
    Exercise(
        name="expert_load",
        notebook="04",
        core=expert_load,
        cases=cases.load_cases,
        observe=cases.counts_of,
        mistakes=load.EXPERT_LOAD,
        properties=(FROM_LOAD,),
        hints=(
            "How often does each number from 0 to n_experts - 1 stand in expert_idx?",
            "torch.bincount counts whole numbers in a flat tensor.",
            "minlength makes room for experts that nobody chose.",
        ),
        moral="Experts that nobody chose are part of the load; a count that drops them makes the worst case look good.",
    ),
    Exercise(
        name="max_violation",
        notebook="04",
        core=max_violation,
        cases=cases.violation_cases,
        mistakes=load.MAX_VIOLATION,
        hints=(
            "The busiest expert, in fair shares.",
            "A fair share is the mean load. An even load should give 0.",
            "max/mean - 1, as a Python number: .item().",
        ),
        moral="0 is even; E/K - 1 when the same K experts take every token.",
    ),
    Exercise(
        name="load_balance_loss",
        notebook="04",
        core=load_balance_loss,
        cases=cases.loss_cases,
        observe=cases.loss_and_gradient,
        mistakes=balance.LOAD_BALANCE_LOSS,
        properties=(EVEN, FLOWS),
        hints=(
            "Two vectors of n_experts numbers, each summing to 1: what the router did, and what it would like.",
            "f: expert_load over the number of choices. P: stats.logits.softmax(-1), mean over all tokens.",
            "n_experts * (f * P).sum(); f is made of whole numbers and carries no gradient, P must.",
        ),
        moral="The counts say where to push, the probabilities are what can be pushed.",
    ),
    Exercise(
        name="sequence_balance_loss",
        notebook="04",
        core=sequence_balance_loss,
        cases=cases.loss_cases,
        observe=cases.loss_and_gradient,
        mistakes=balance.SEQUENCE_BALANCE_LOSS,
        properties=(EVEN, FLOWS),
        hints=(
            "The same product as before, for each sequence by itself, with the router's own scores.",
            "Counts: scores.topk(K) without any bias, scattered as ones and summed over the sequence.",
            "f = counts · E / (K · T), P = mean over T of scores / scores.sum(-1); sum over E, mean over the batch.",
        ),
        moral="A batch can be even while every sequence is lopsided; this loss sees the sequence.",
    ),
    Exercise(
        name="update_expert_bias_",
        notebook="04",
        core=update_expert_bias_,
        cases=cases.bias_cases,
        observe=cases.bias_after,
        writes_into_arguments=True,
        mistakes=balance.UPDATE_EXPERT_BIAS,
        properties=(Property("the mean of the biases stays where it was", cases.mean_stays),),
        hints=(
            "A fixed small step for every expert: up if it had less than the mean, down if it had more.",
            "delta = rate * (mean - load).sign(); then take the mean of delta off.",
            "In place and outside autograd: @torch.no_grad() and expert_bias += ...",
        ),
        moral="Only the sign of the difference counts: the steps stay small, however wild the load.",
    ),
    Exercise(
        name="dispatch",
        notebook="04",
        core=dispatch,
        cases=cases.dispatch_cases,
        observe=cases.observe_dispatch,
        mistakes=sending.DISPATCH,
        tolerance=1e-4,
        hints=(
            "Write down the expert of every (token, choice) pair, sort the pairs by expert, remember where each went.",
            "order = expert_idx.flatten().argsort(stable=True): pair order[i] belongs to token order[i] // K.",
            "rows = bank(x[order // K], counts); the inverse of `order` brings them back; then weights and the sum.",
        ),
        moral="Sorting makes one large product an expert out of many small ones, and no token is ever dropped.",
    ),
    Exercise(
        name="test_sound_router",
        notebook="04",
        core=test_sound_router,
        cases=lambda: [
            Case("the broken piece", (bugs.route_of_a_colleague,)),
            Case("the core's topk_route", (topk_route,)),
            Case("a sound version, token by token", (hunts.route_in_a_loop,)),
            Case("a piece that gives zeros", (hunts.route_of_zeros,), judged=False),
            Case("a piece of another shape", (hunts.route_of_one,), judged=False),
            Case("a piece that weighs all alike", (hunts.route_of_equals,), judged=False),
            Case("a piece with weights twice as large", (hunts.route_doubled,), judged=False),
        ],
        observe=verdict,
        mistakes=routing_tests.ROUTER_TESTS,
        hints=(
            "What may the bias change, and what must it leave alone?",
            "Compare the router's weights with a bias and without one. When is the *choice* the same in both?",
            "With K = E everybody is chosen whatever the bias: then the weights must be equal.",
        ),
        moral="K = E is the case in which the bias must not show at all.",
    ),
    Exercise(
        name="test_sound_loss",
        notebook="04",
        core=test_sound_loss,
        cases=lambda: [
            Case("the broken piece", (bugs.balance_loss_of_a_colleague,)),
            Case("the core's load_balance_loss", (load_balance_loss,)),
            Case("a sound version, expert by expert", (hunts.loss_in_a_loop,)),
            Case("a piece that gives zero", (hunts.loss_of_zeros,), judged=False),
            Case("a piece of another shape", (hunts.loss_a_token,), judged=False),
            Case("half the loss", (hunts.loss_halved,), judged=False),
            Case("a piece that says 1 to every router", (hunts.loss_of_ones,), judged=False),
        ],
        observe=verdict,
        mistakes=routing_tests.LOSS_TESTS,
        hints=(
            "For which router do you know the loss without computing it?",
            "All logits 0, so that every probability is 1/E, and an expert_idx that goes round all experts.",
            "Then E · sum f_i · 1/E is exactly 1, while P over the chosen only is smaller by the factor K/E.",
        ),
        moral="P over the chosen only has its minimum elsewhere: it rewards choosing what one is unsure of.",
    ),
    Exercise(
        name="test_sound_capacity",
        notebook="04",
        core=test_sound_capacity,
        cases=lambda: [
            Case("the broken piece", (bugs.dispatch_of_a_colleague,)),
            Case("the core's dispatch", (dispatch,)),
            Case("a sound version, token by token", (hunts.dispatch_by_token,)),
            Case("a piece that gives zeros", (hunts.dispatch_of_zeros,), judged=False),
            Case("a piece of another shape", (hunts.dispatch_of_one_channel,), judged=False),
            Case("a piece that serves the first token only", (hunts.dispatch_of_the_first,), judged=False),
        ],
        observe=verdict,
        mistakes=routing_tests.CAPACITY_TESTS,
        hints=(
            "For which load would a buffer of a fixed size be too small?",
            "Send every token to the same expert and look at the last one.",
            "A token's result must be the same alone and in a crowd.",
        ),
        moral="Dropped tokens raise no error: their experts' output is 0, and the residual stream hides it.",
    ),
)
