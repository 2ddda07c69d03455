"""Tests that cannot tell: the known wrong answers to test_sound_swiglu, of notebook 03."""

import torch
import torch.nn.functional as F

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_A_GRADIENT,
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    EXPECTS_THE_BROKEN,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)

COMPARES_NO_NUMBER = (
    "It refuses zeros and ones, and passes for the negative and a thousand times as much: it asks whether results "
    "differ, or are not all the same, and not how large they are.",
    "With which number, worked out by hand, can one result be compared?",
)
ASKS_FOR_THE_SIGN = (
    "It passes for other activations and a thousand times as much, and refuses zeros and the negative: it asks for "
    "the sign of the result, or on which side of a bound it lies. In the piece above that is right.",
    "With which number, worked out by hand, can one result be compared?",
)
TAKES_ZEROS = (
    "It passes for zeros, the negative and other activations: a result may be off by more than it is large, be it "
    "that the numbers are small or that the tolerance is wide.",
    "How large is the right result, and how far may a piece be off?",
)


def draw():
    """Three tokens of four channels, and weights of width 5."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for shape in ((3, 4), (10, 4), (4, 5))]


def gated(x, gate_up, down, act=F.silu):
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return (act(gate) * up) @ down.T


def close(one, other):
    return torch.allclose(one, other, atol=1e-5)


@mistake(*LOOKS_AT_NOTHING)
def gate_test_that_never_fails(swiglu):
    swiglu(*draw())


@mistake(*LOOKS_AT_NO_NUMBER)
def gate_test_of_the_kind(swiglu):
    assert swiglu(*draw()) is not None


@mistake(*REFUSES_EVERYTHING)
def gate_test_that_always_fails(swiglu):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def gate_test_of_the_shape(swiglu):
    assert swiglu(*draw()).shape == (3, 4)


@mistake(
    "It cannot see an exchange of gate and up: with its numbers both orders give the same within its tolerance, as "
    "where both halves have the same numbers.",
    "What are silu(gate) · up and silu(up) · gate with your numbers, and how far apart may a result be from the "
    "right one?",
)
def gate_test_with_equal_halves(swiglu):
    x, gate_up, down = draw()
    equal = torch.cat([gate_up[:5], gate_up[:5]])
    assert close(swiglu(x, equal, down), gated(x, equal, down))


@mistake(
    "It passes for zeros, the negative and a thousand times as much: with its numbers the right result is 0, in "
    "either order, as where the input, `up` or `down` is 0.",
    "For which numbers is the right result not 0, and another one when gate and up change places?",
)
def gate_test_with_zeros(swiglu):
    _, gate_up, down = draw()
    assert torch.equal(swiglu(torch.zeros(3, 4), gate_up, down), torch.zeros(3, 4))


@mistake(
    "It passes for zeros, the negative and a thousand times as much: with its numbers the right result is 0, in "
    "either order, as where the gate is 0.",
    "For which numbers is the right result not 0, and another one when gate and up change places?",
)
def gate_test_with_a_gate_of_zero(swiglu):
    out = swiglu(torch.ones(1, 1), torch.tensor([[0.0], [3.0]]), torch.ones(1, 1))
    assert out.abs().item() < 1e-6


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def gate_test_of_finite_numbers(swiglu):
    assert swiglu(*draw()).isfinite().all()


@mistake(
    "It refuses the sound pieces, and passes for one with a sigmoid on the gate. silu(z) is z · sigmoid(z).",
    "What is silu(10), and what is sigmoid(10)?",
)
def gate_test_with_sigmoid(swiglu):
    assert close(swiglu(*draw()), gated(*draw(), act=torch.sigmoid))


@mistake(
    "It refuses the sound pieces, and passes for one with GELU on the gate. silu(z) is z · sigmoid(z).",
    "What is silu(-1), and what does your test expect?",
)
def gate_test_with_gelu(swiglu):
    assert close(swiglu(*draw()), gated(*draw(), act=F.gelu))


@mistake(
    "It refuses the sound pieces, and passes for one with ReLU on the gate. silu(z) is z · sigmoid(z).",
    "What is silu(-1), and what does your test expect?",
)
def gate_test_with_relu(swiglu):
    assert close(swiglu(*draw()), gated(*draw(), act=F.relu))


@mistake(
    "It passes for other activations and for the negative, and refuses pieces without a gradient and zeros: it asks "
    "whether the network learns. With gate and up exchanged it learns as well.",
    "With which number, worked out by hand, can one result be compared?",
)
def gate_test_of_learning(swiglu):
    x, gate_up, down = draw()
    gate_up, down = (0.3 * gate_up).requires_grad_(), (0.3 * down).requires_grad_()
    losses = []
    for _ in range(20):
        loss = (swiglu(x, gate_up, down) - x.flip(0)).square().mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, [gate_up, down])
        with torch.no_grad():
            for p, g in zip((gate_up, down), gradients):
                p -= 0.05 * g
    assert losses[-1] < losses[0]


@mistake(ASKS_FOR_A_GRADIENT, "With which number, worked out by hand, can one result be compared?")
def gate_test_of_the_gradient(swiglu):
    x, gate_up, down = draw()
    gate_up.requires_grad_()
    swiglu(x, gate_up, down).sum().backward()
    assert gate_up.grad.abs().sum() > 0


@mistake(*COMPARES_NO_NUMBER)
def gate_test_of_a_difference(swiglu):
    x, gate_up, down = draw()
    assert not close(swiglu(x, gate_up, down), swiglu(x, gate_up.roll(5, dims=0), down))


@mistake(*COMPARES_NO_NUMBER)
def gate_test_of_a_difference_of_numbers(swiglu):
    x, gate_up, down = draw()
    difference = swiglu(x, gate_up, down) - swiglu(2 * x, gate_up, down)
    assert difference.abs().max() > 1e-3


@mistake(*COMPARES_NO_NUMBER)
def gate_test_of_the_shape_and_a_difference(swiglu):
    x, gate_up, down = draw()
    out = swiglu(x, gate_up, down)
    assert out.shape == x.shape and (out - swiglu(2 * x, gate_up, down)).abs().max() > 1e-3


@mistake(*LEAVES_MUCH_ROOM)
def gate_test_with_much_room(swiglu):
    assert torch.allclose(swiglu(*draw()), gated(*draw()), atol=100)


@mistake(*EXPECTS_THE_BROKEN)
def gate_test_of_the_broken_numbers(swiglu):
    x, gate_up, down = draw()
    assert close(swiglu(x, gate_up, down), gated(x, gate_up.roll(5, dims=0), down))


@mistake(
    "It refuses the sound pieces, and passes for zeros and the broken ones: it expects 0, as the broken ones give "
    "it where `up` is far below zero.",
    "Which rows of `gate_up` close a channel, and what is silu of a number far below zero?",
)
def gate_test_of_a_closed_up(swiglu):
    out = swiglu(torch.ones(1, 1), torch.tensor([[5.0], [-30.0]]), torch.ones(1, 1))
    assert out.abs().item() < 1e-3


@mistake(*REFUSES_THE_RIGHT)
def gate_test_upside_down(swiglu):
    assert not close(swiglu(*draw()), gated(*draw()))


@mistake(*COMPARES_WITH_ITSELF)
def gate_test_of_repetition(swiglu):
    assert torch.equal(swiglu(*draw()), swiglu(*draw()))


@mistake(*TAKES_ZEROS)
def gate_test_with_small_numbers(swiglu):
    x, gate_up, down = draw()
    small = [x, 0.02 * gate_up, 0.02 * down]
    assert torch.allclose(swiglu(*small), gated(*small), atol=1e-3)


@mistake(
    "It refuses the sound pieces, and passes for zeros, ReLU and the broken ones: it asks that the result grows "
    "with the gate, twice as much for twice the gate. So it is with `up`; silu is no straight line.",
    "Which of the two halves goes through an activation, the first rows or the last?",
)
def gate_test_of_a_doubled_gate(swiglu):
    x, gate_up, down = draw()
    doubled = torch.cat([2 * gate_up[:5], gate_up[5:]])
    assert close(swiglu(x, doubled, down), 2 * swiglu(x, gate_up, down))


@mistake(
    "It refuses the sound pieces, and passes for zeros and ReLU: it asks for exactly 0 where the gate is below "
    "zero. silu(-2) is -0.24.",
    "What is z · sigmoid(z) at the gate of your test?",
)
def gate_test_of_a_relu(swiglu):
    assert swiglu(torch.ones(1, 1), torch.tensor([[-2.0], [3.0]]), torch.ones(1, 1)).item() == 0


@mistake(*ASKS_FOR_THE_SIGN)
def gate_test_of_a_negative_sign(swiglu):
    assert swiglu(torch.ones(1, 1), torch.tensor([[2.0], [-3.0]]), torch.ones(1, 1)).item() < 0


@mistake(*ASKS_FOR_THE_SIGN)
def gate_test_of_a_positive_sign(swiglu):
    assert swiglu(torch.ones(1, 1), torch.tensor([[2.0], [3.0]]), torch.ones(1, 1)).item() > 0


@mistake(ASKS_FOR_SHAPE_AND_FINITE, "With which number, worked out by hand, can one result be compared?")
def gate_test_of_the_shape_and_finite_numbers(swiglu):
    out = swiglu(*draw())
    assert out.shape == (3, 4) and out.isfinite().all()


@mistake(*TAKES_ZEROS)
def gate_test_with_small_numbers_and_weights(swiglu):
    x, gate_up, down = draw()
    small = [x, 0.02 * gate_up, 0.02 * down]
    assert torch.allclose(swiglu(*small), gated(*small), atol=2e-4)


SWIGLU_TESTS = (
    gate_test_that_never_fails,
    gate_test_of_the_kind,
    gate_test_that_always_fails,
    gate_test_of_the_shape,
    gate_test_with_equal_halves,
    gate_test_with_zeros,
    gate_test_with_a_gate_of_zero,
    gate_test_of_finite_numbers,
    gate_test_with_sigmoid,
    gate_test_with_gelu,
    gate_test_with_relu,
    gate_test_of_learning,
    gate_test_of_the_gradient,
    gate_test_of_a_difference,
    gate_test_of_a_difference_of_numbers,
    gate_test_of_the_shape_and_a_difference,
    gate_test_with_much_room,
    gate_test_of_the_broken_numbers,
    gate_test_of_a_closed_up,
    gate_test_upside_down,
    gate_test_of_repetition,
    gate_test_with_small_numbers,
    gate_test_of_a_doubled_gate,
    gate_test_of_a_relu,
    gate_test_of_a_negative_sign,
    gate_test_of_a_positive_sign,
    gate_test_of_the_shape_and_finite_numbers,
    gate_test_with_small_numbers_and_weights,
)
