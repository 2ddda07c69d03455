"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 04."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.router import RouterStats

ALWAYS_FAILS = (
    "The test fails for every function, the sound one too.",
    "Run it on the core's function first.",
)
SHAPE_ONLY = (
    "The test looks at the shape only. The broken piece gives the right one.",
    "Which number is wrong?",
)

CFG = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
LOGITS = torch.tensor([[[2.0, 1.0, 0.0, -1.0], [0.0, 1.0, -1.0, 2.0]]])


@mistake(*LOOKS_AT_NOTHING)
def router_test_that_never_fails(topk_route):
    topk_route(LOGITS, torch.zeros(4), CFG)


@mistake(*ALWAYS_FAILS)
def router_test_that_always_fails(topk_route):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def router_test_of_the_shape(topk_route):
    assert topk_route(LOGITS, torch.ones(4), CFG).weights.shape == (1, 2, 2)


@mistake(
    "The test uses a bias of zeros. There the piece is right.",
    "Which argument must be something else for the defect to show?",
)
def router_test_without_bias(topk_route):
    found = topk_route(LOGITS, torch.zeros(4), CFG).weights.sort(dim=-1).values
    scores = LOGITS.sigmoid().topk(2, dim=-1).values
    right = (scores / scores.sum(-1, keepdim=True)).sort(dim=-1).values
    assert torch.allclose(found, right, atol=1e-5)


@mistake(
    "The test asks whether the weights sum to the scaling factor. Those of the broken piece do.",
    "Each single weight should be its expert's score, divided by the sum of the chosen scores.",
)
def router_test_of_the_sum(topk_route):
    bias = torch.tensor([0.0, 0.5, 0.0, -0.5])
    assert torch.allclose(topk_route(LOGITS, bias, CFG).weights.sum(-1), torch.ones(1, 2), atol=1e-5)


@mistake(
    "The test asks for the sign of the weights only. They are positive in the broken piece too.",
    "What should the weight of each chosen expert be, as a number?",
)
def router_test_of_the_sign(topk_route):
    assert (topk_route(LOGITS, torch.tensor([0.0, 0.5, 0.0, -0.5]), CFG).weights > 0).all()


@mistake(*LOOKS_AT_NO_NUMBER)
def router_test_of_the_kind(topk_route):
    assert topk_route(LOGITS, torch.zeros(4), CFG) is not None


ROUTER_TESTS = (
    router_test_that_never_fails,
    router_test_of_the_kind,
    router_test_that_always_fails,
    router_test_of_the_shape,
    router_test_without_bias,
    router_test_of_the_sum,
    router_test_of_the_sign,
)


def stats_of(logits, top_k=1):
    scores = logits.sigmoid()
    idx = scores.topk(top_k, dim=-1).indices
    return RouterStats(logits, scores, idx, scores.gather(-1, idx))


@mistake(*LOOKS_AT_NOTHING)
def loss_test_that_never_fails(load_balance_loss):
    load_balance_loss(stats_of(LOGITS))


@mistake(*ALWAYS_FAILS)
def loss_test_that_always_fails(load_balance_loss):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def loss_test_of_the_shape(load_balance_loss):
    assert load_balance_loss(stats_of(LOGITS)).shape == ()


@mistake(
    "The test looks at a collapsed router only. There the chosen expert has all the probability, and both agree.",
    "For which router should the loss be exactly 1?",
)
def loss_test_of_collapse(load_balance_loss):
    collapsed = torch.tensor([[[30.0, 0.0, 0.0, 0.0]] * 3])
    assert abs(load_balance_loss(stats_of(collapsed)).item() - 4) < 1e-3


@mistake(
    "The test asks whether a gradient comes back. It does, in the broken piece too.",
    "Compare with a value that you know: what is the loss of an even router?",
)
def loss_test_of_the_gradient(load_balance_loss):
    logits = LOGITS.clone().requires_grad_()
    load_balance_loss(stats_of(logits)).backward()
    assert logits.grad.abs().sum() > 0


@mistake(
    "Equal probabilities are not enough: with all tokens at one expert the broken piece gives 1 as well.",
    "Which experts does your `expert_idx` name? An even router uses all of them.",
)
def loss_test_of_one_busy_expert(load_balance_loss):
    equal = stats_of(torch.zeros(1, 4, 4))
    assert abs(load_balance_loss(equal._replace(expert_idx=0 * equal.expert_idx)) - 1) < 1e-5


@mistake(
    "The test asks whether the loss is positive. That of the broken piece is.",
    "Compare with a value that you know: what is the loss of an even router?",
)
def loss_test_of_the_sign(load_balance_loss):
    assert load_balance_loss(stats_of(LOGITS)) > 0


@mistake(*LOOKS_AT_NO_NUMBER)
def loss_test_of_the_kind(load_balance_loss):
    assert load_balance_loss(stats_of(LOGITS)) is not None


@mistake(
    "The test compares two routers, an uneven one with a more even one. The broken piece puts them in the same order.",
    "Compare with a value that you know: what is the loss of an even router?",
)
def loss_test_of_the_order(load_balance_loss):
    even = stats_of(torch.eye(4)[None])
    collapsed = stats_of(torch.tensor([[[9.0, 0.0, 0.0, 0.0]] * 4]))
    assert load_balance_loss(even) < load_balance_loss(collapsed)


@mistake(
    "The test asks whether the loss lies in a range. That of the broken piece does.",
    "Compare with a value that you know: what is the loss of an even router?",
)
def loss_test_of_a_range(load_balance_loss):
    assert 0 <= load_balance_loss(stats_of(LOGITS)).item() <= 4


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def loss_test_of_finite_numbers(load_balance_loss):
    assert load_balance_loss(stats_of(LOGITS)).isfinite().all()


LOSS_TESTS = (
    loss_test_that_never_fails,
    loss_test_of_the_kind,
    loss_test_that_always_fails,
    loss_test_of_the_shape,
    loss_test_of_collapse,
    loss_test_of_the_gradient,
    loss_test_of_one_busy_expert,
    loss_test_of_the_sign,
    loss_test_of_the_order,
    loss_test_of_a_range,
    loss_test_of_finite_numbers,
)


def small_bank():
    bank = ExpertBank(4, 2, 3)
    with torch.no_grad():
        for p in bank.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p))
    return bank


def by_hand(x, idx, bank):
    rows = [swiglu(x[t], bank.gate_up_proj[e], bank.down_proj[e]) for t, e in enumerate(idx[:, 0].tolist())]
    return torch.stack(rows)


@mistake(*LOOKS_AT_NOTHING)
def capacity_test_that_never_fails(dispatch):
    dispatch(torch.ones(4, 2), torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1), small_bank())


@mistake(*ALWAYS_FAILS)
def capacity_test_that_always_fails(dispatch):
    raise AssertionError


@mistake(*SHAPE_ONLY)
def capacity_test_of_the_shape(dispatch):
    idx = torch.zeros(8, 1, dtype=torch.long)
    assert dispatch(torch.ones(8, 2), idx, torch.ones(8, 1), small_bank()).shape == (8, 2)


@mistake(
    "The test spreads the tokens evenly. There every expert has enough room.",
    "For which choice of experts would the room be too small?",
)
def capacity_test_of_an_even_load(dispatch):
    x, idx, bank = torch.arange(16.0).view(8, 2), (torch.arange(8) % 4)[:, None], small_bank()
    assert torch.allclose(dispatch(x, idx, torch.ones(8, 1), bank), by_hand(x, idx, bank), atol=1e-4)


@mistake(
    "The test looks at the first token only. The last ones are dropped.",
    "Which tokens lose their place when an expert is full?",
)
def capacity_test_of_the_first_token(dispatch):
    x, idx, bank = torch.ones(8, 2), torch.zeros(8, 1, dtype=torch.long), small_bank()
    assert torch.allclose(dispatch(x, idx, torch.ones(8, 1), bank)[0], by_hand(x, idx, bank)[0], atol=1e-5)


@mistake(*LOOKS_AT_NO_NUMBER)
def capacity_test_of_the_kind(dispatch):
    assert (
        dispatch(torch.ones(4, 2), torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1), small_bank())
        is not None
    )


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def capacity_test_of_finite_numbers(dispatch):
    assert (
        dispatch(torch.ones(8, 2), torch.zeros(8, 1, dtype=torch.long), torch.ones(8, 1), small_bank())
        .isfinite()
        .all()
    )


CAPACITY_TESTS = (
    capacity_test_that_never_fails,
    capacity_test_of_the_kind,
    capacity_test_that_always_fails,
    capacity_test_of_the_shape,
    capacity_test_of_an_even_load,
    capacity_test_of_the_first_token,
    capacity_test_of_finite_numbers,
)
