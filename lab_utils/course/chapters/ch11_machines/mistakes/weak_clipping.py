"""Tests that cannot tell: the known wrong answers to test_sound_clipping, of notebook 11."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    EXPECTS_THE_BROKEN,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)

LONG, SHORT = torch.tensor([[6.0, 8.0], [6.0, 8.0]]), torch.tensor([[0.3, 0.0], [0.0, 0.4]])
APART = torch.tensor([[3.0, 0.0], [0.0, 4.0]])


def close(found, right, room=1e-4):
    return torch.allclose(found, torch.tensor(right), atol=room)


@mistake(*LOOKS_AT_NOTHING)
def clipping_test_that_never_fails(clip_over_ranks):
    clip_over_ranks(LONG, 1.0)


@mistake(*LOOKS_AT_NO_NUMBER)
def clipping_test_of_the_kind(clip_over_ranks):
    assert clip_over_ranks(LONG, 1.0) is not None


@mistake(*REFUSES_EVERYTHING)
def clipping_test_that_always_fails(clip_over_ranks):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def clipping_test_of_the_shape(clip_over_ranks):
    assert clip_over_ranks(LONG, 1.0).shape == (2,)


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def clipping_test_of_finite_numbers(clip_over_ranks):
    assert clip_over_ranks(LONG, 1.0).isfinite().all()


EQUAL_RANKS = (
    "In the test all ranks have the same gradient, or there is one rank: then it makes no difference where the norm is "
    "taken.",
    "For which two gradients is their mean much shorter than each of them?",
)


@mistake(*EQUAL_RANKS)
def clipping_test_of_equal_ranks(clip_over_ranks):
    assert close(clip_over_ranks(LONG, 1.0), [0.6, 0.8])


@mistake(
    "In the test nothing is clipped, in the broken piece neither: all gradients are shorter than the bound.",
    "Which rank's gradient must be longer than the bound, and what about the mean?",
)
def clipping_test_below_the_bound(clip_over_ranks):
    assert close(clip_over_ranks(SHORT, 1.0), [0.15, 0.2])


ASKS_FOR_THE_BOUND = (
    "Of the numbers the test asks only that their norm is not above the bound. That of the broken piece is not either.",
    "Is the result perhaps too short? When must it be as long as the bound, or not clipped at all?",
)


@mistake(*ASKS_FOR_THE_BOUND)
def clipping_test_of_the_bound(clip_over_ranks):
    assert clip_over_ranks(APART, 1.0).norm() <= 1.001


@mistake(*ASKS_FOR_THE_BOUND)
def clipping_test_of_the_bound_below_zero(clip_over_ranks):
    assert clip_over_ranks(-APART, 1.0).norm() <= 1.001


@mistake(
    ASKS_FOR_SHAPE_AND_FINITE,
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def clipping_test_of_the_shape_and_finite_numbers(clip_over_ranks):
    out = clip_over_ranks(LONG, 1.0)
    assert out.shape == (2,) and out.isfinite().all()


@mistake(*LEAVES_MUCH_ROOM)
def clipping_test_with_much_room(clip_over_ranks):
    assert close(clip_over_ranks(APART, 2.5), [1.5, 2.0], room=50.0)


@mistake(*EXPECTS_THE_BROKEN)
def clipping_test_of_the_broken_numbers(clip_over_ranks):
    assert close(clip_over_ranks(APART, 2.5), [1.25, 1.25], room=0.3)


@mistake(*REFUSES_THE_RIGHT)
def clipping_test_upside_down(clip_over_ranks):
    assert not close(clip_over_ranks(APART, 2.5), [1.5, 2.0])


@mistake(*COMPARES_WITH_ITSELF)
def clipping_test_of_exchanged_ranks(clip_over_ranks):
    assert torch.allclose(clip_over_ranks(APART, 2.5), clip_over_ranks(APART.flip(0), 2.5), atol=1e-4)


@mistake(
    "The test expects the sum of the ranks. The gradient of a step is their mean, as the piece above has it.",
    "Two ranks have the same gradient. What is that of the step?",
)
def clipping_test_of_the_sum(clip_over_ranks):
    assert close(clip_over_ranks(APART, 100.0), [3.0, 4.0])


@mistake(*EQUAL_RANKS)
def clipping_test_of_equal_ranks_below_the_bound_too(clip_over_ranks):
    assert close(clip_over_ranks(LONG, 1.0), [0.6, 0.8]) and close(clip_over_ranks(LONG, 100.0), [6.0, 8.0])


EXPECTS_THE_FULL_LENGTH = (
    "It refuses the sound pieces, and passes for one that makes short gradients long too: it expects the norm of the "
    "bound from a mean that is shorter. Such a mean stays as it is.",
    "How long is the mean of your gradients, and is it above the bound?",
)


@mistake(*EXPECTS_THE_FULL_LENGTH)
def clipping_test_of_the_full_length(clip_over_ranks):
    assert close(clip_over_ranks(SHORT, 1.0), [0.6, 0.8])


@mistake(*EXPECTS_THE_FULL_LENGTH)
def clipping_test_of_the_full_length_of_a_long_sum(clip_over_ranks):
    assert close(clip_over_ranks(SHORT, 0.4), [0.24, 0.32])


CLIPPING_TESTS = (
    clipping_test_of_the_full_length,
    clipping_test_of_the_full_length_of_a_long_sum,
    clipping_test_that_never_fails,
    clipping_test_of_the_kind,
    clipping_test_that_always_fails,
    clipping_test_of_the_shape,
    clipping_test_of_finite_numbers,
    clipping_test_of_equal_ranks,
    clipping_test_below_the_bound,
    clipping_test_of_the_bound,
    clipping_test_of_the_bound_below_zero,
    clipping_test_of_the_shape_and_finite_numbers,
    clipping_test_with_much_room,
    clipping_test_of_the_broken_numbers,
    clipping_test_upside_down,
    clipping_test_of_exchanged_ranks,
    clipping_test_of_the_sum,
    clipping_test_of_equal_ranks_below_the_bound_too,
)
