"""Tests that cannot tell: the known wrong answers to test_sound_moe, of notebook 06."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, mistake
from lab_utils.course.probes import EXPECTS_THE_BROKEN, OR_EQUAL_NUMBERS
from nanokimi.config import MoEConfig
from nanokimi.moe import MoE, dispatch


def small_moe(moe_class, factor=2.5):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=3, routed_scaling_factor=factor)
    moe = moe_class(4, cfg)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in moe.parameters():
            p.normal_(0.0, 0.5, generator=generator)
    return moe, torch.linspace(-1, 1, 8).view(1, 2, 4)


def routed_sum(moe, x, stats):
    return dispatch(*(t.flatten(0, 1) for t in (x, stats.expert_idx, stats.weights)), moe.experts).view_as(x)


@mistake(
    "It passes for every layer that was tried, whatever y is, even if there is none.",
    "Is there an `assert`, and does it look at y?",
)
def moe_test_that_never_fails(moe_class):
    moe, x = small_moe(moe_class)
    moe(x)


@mistake(
    f"It passes for no layer that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on the lab's MoE first. If y is close there and not equal, leave room for rounding: two sound layers may "
    "add in another order.",
)
def moe_test_that_always_fails(moe_class):
    raise AssertionError


@mistake(
    "It passes for all layers that were tried but one of another shape, and one that returns no y.",
    "Which sum is too large? When the other one is 0, what must y be?",
)
def moe_test_of_the_shape(moe_class):
    moe, x = small_moe(moe_class)
    assert moe(x)[0].shape == x.shape


@mistake(
    "It refuses a layer without its routed experts, and not one without its shared expert: what is done to the "
    "shared one does not show in it. The bug is there.",
    "Which part of y comes from the shared expert in your test, and what should it be?",
)
def moe_test_without_shared(moe_class):
    moe, x = small_moe(moe_class)
    with torch.no_grad():
        moe.shared_experts.down_proj.zero_()
    assert moe(x)[0].abs().sum() > 0


@mistake(
    "It passes for all layers that were tried but one that gives zeros, and one that returns no y.",
    "Compare with a number that you know: what must the layer give when its routed experts give 0?",
)
def moe_test_that_something_happens(moe_class):
    moe, x = small_moe(moe_class)
    out = moe(x)[0]
    assert (out - moe(2 * x)[0]).abs().max() > 0


@mistake(LOOKS_AT_NO_NUMBER[0], "Which sum is too large? Make the other one vanish, and y is known.")
def moe_test_of_the_kind(moe_class):
    assert small_moe(moe_class)[0](torch.ones(1, 2, 4))[0] is not None


@mistake(
    "It passes whatever y is, even if there is none, and refuses a layer that reports other weights: it looks at "
    "what the router reports.",
    "The report is right. What is done with it?",
)
def moe_test_of_the_report(moe_class):
    moe, x = small_moe(moe_class)
    assert (moe(x)[1].weights > 0).all()


@mistake(
    "It passes for all layers that were tried but one that gives other numbers in each call, and one that returns no "
    "y.",
    "If it compares two calls: they agree in the broken layer too. With what must one call agree? If it compares one "
    "call with its right value: is your tolerance smaller than what the broken layer adds?",
)
def moe_test_of_two_calls(moe_class):
    moe, x = small_moe(moe_class)
    assert torch.equal(moe(x)[0], moe(x)[0])


FACTOR_OF_ONE = (
    "It looks at y, and with its numbers the broken layers and a sound one are the same, or closer than it asks: be "
    "it that the scaling factor is 1, that the shared part is small, or that the tolerance is wide.",
    "By which factor does the broken layer multiply too much, and by how much does that change y? Choose a factor far "
    "from 1.",
)


@mistake(*FACTOR_OF_ONE)
def moe_test_with_a_factor_of_one(moe_class):
    moe, x = small_moe(moe_class, factor=1.0)
    right = small_moe(MoE, factor=1.0)[0]
    assert torch.allclose(moe(x)[0], right(x)[0], atol=1e-4)


@mistake(*FACTOR_OF_ONE)
def moe_test_of_the_sum_with_a_factor_of_one(moe_class):
    moe, x = small_moe(moe_class, factor=1.0)
    y, stats = moe(x)
    assert torch.allclose(y, routed_sum(moe, x, stats) + moe.shared_experts(x), atol=1e-4)


@mistake(*FACTOR_OF_ONE)
def moe_test_of_the_shared_with_a_factor_of_one(moe_class):
    moe, x = small_moe(moe_class, factor=1.0)
    with torch.no_grad():
        moe.experts.down_proj.zero_()
    assert torch.allclose(moe(x)[0], moe.shared_experts(x), atol=1e-4)


@mistake(*EXPECTS_THE_BROKEN)
def moe_test_of_the_scaled_sum(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    assert torch.allclose(y, routed_sum(moe, x, stats) + 2.5 * moe.shared_experts(x), atol=1e-4)


@mistake(
    "It asks for the routed sum, and passes for a layer without its shared expert: what is done to the shared one "
    "does not show in it. The bug is there.",
    "Which part of y comes from the shared expert in your test, and what should it be?",
)
def moe_test_of_the_routed_sum(moe_class):
    moe, x = small_moe(moe_class)
    with torch.no_grad():
        moe.shared_experts.down_proj.zero_()
    y, stats = moe(x)
    assert torch.allclose(y, routed_sum(moe, x, stats), atol=1e-4)


@mistake(
    "It refuses layers that multiply their shared part by the scaling factor, and passes for those that multiply it by "
    "other numbers.",
    "What must a layer give? Ask for that, and not only that it is something else than what the one above gives.",
)
def moe_test_of_the_wrong_sum(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    assert not torch.allclose(y, routed_sum(moe, x, stats) + 2.5 * moe.shared_experts(x), atol=1e-4)


@mistake(
    "It refuses the layers whose shared part is too large, and passes for one where it is too small.",
    "What must a layer give? Ask for that, and not only for something that is small enough.",
)
def moe_test_of_an_upper_bound(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    shared = moe.shared_experts(x)
    assert (y - routed_sum(moe, x, stats)).norm() <= shared.norm() + 1e-4


@mistake(
    "It passes for a layer whose shared part is a little too large, and refuses those in which it is much larger or "
    "smaller: its tolerance is wider than what that layer adds.",
    "How far may two sound layers be apart, and how far apart does your test let y and its right value be?",
)
def moe_test_with_room(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    shared = moe.shared_experts(x)
    room = 0.3 * shared.abs().max().item()
    assert torch.allclose(y, routed_sum(moe, x, stats) + shared, atol=room, rtol=0)


@mistake(
    "It refuses the sound layers, and passes for one whose routed sum is multiplied by the scaling factor once more. "
    "The weights that the router gives hold it already.",
    "What do the weights of one token add up to, 1 or the factor?",
)
def moe_test_that_scales_twice(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    assert torch.allclose(y, 2.5 * routed_sum(moe, x, stats) + moe.shared_experts(x), atol=1e-4)


@mistake(
    "It refuses the sound layers, and passes for one whose routed sum is not multiplied by the scaling factor. That "
    "factor belongs to the routed sum.",
    "What do the weights of one token add up to, 1 or the factor?",
)
def moe_test_without_the_factor(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    assert torch.allclose(y, routed_sum(moe, x, stats) / 2.5 + moe.shared_experts(x), atol=1e-4)


@mistake(
    "It refuses the sound layers, and passes for broken ones: it expects that y grows as the factor does. The shared "
    "expert is a part of y, and has no factor.",
    "Which part of y should change with routed_scaling_factor, and which should not?",
)
def moe_test_of_twice_the_factor(moe_class):
    (once, x), (twice, _) = small_moe(moe_class, factor=1.0), small_moe(moe_class, factor=2.0)
    assert torch.allclose(twice(x)[0], 2 * once(x)[0], atol=1e-4)


@mistake(
    "It refuses a layer of another shape, and one that reports other weights, and passes for zeros: it looks at "
    "what the router reports, and compares no number of y.",
    "The report is right. What is done with it?",
)
def moe_test_of_the_report_and_the_shape(moe_class):
    moe, x = small_moe(moe_class)
    y, stats = moe(x)
    assert y.shape == x.shape and (stats.weights > 0).all()


MOE_TESTS = (
    moe_test_that_never_fails,
    moe_test_of_the_kind,
    moe_test_that_always_fails,
    moe_test_of_the_shape,
    moe_test_without_shared,
    moe_test_that_something_happens,
    moe_test_of_the_report,
    moe_test_of_two_calls,
    moe_test_with_a_factor_of_one,
    moe_test_of_the_sum_with_a_factor_of_one,
    moe_test_of_the_shared_with_a_factor_of_one,
    moe_test_of_the_scaled_sum,
    moe_test_of_the_routed_sum,
    moe_test_of_the_wrong_sum,
    moe_test_of_an_upper_bound,
    moe_test_with_room,
    moe_test_that_scales_twice,
    moe_test_without_the_factor,
    moe_test_of_twice_the_factor,
    moe_test_of_the_report_and_the_shape,
)
