"""What tells weak tests apart in a bug hunt: pieces that only probe, and sentences that are true in every hunt."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case

OR_EQUAL_NUMBERS = (
    "no sound piece gives what it asks for, or it leaves no room for float32 rounding, about 1e-7 of a number, as "
    "where it asks for exactly equal numbers."
)
REFUSES_EVERYTHING = (
    f"The test passes for no piece that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Call it with a function that you know to be right. Which `assert` does not hold, and should it? What comes "
    "out, what does the test expect, and how far apart are the two?",
)
LOOKS_AT_THE_SHAPE = (
    "The test lets everything through that has the right shape, whatever the numbers are.",
    "Which number comes out different in the piece above, and which `assert` looks at it?",
)
LEAVES_MUCH_ROOM = (
    "It passes for plainly wrong numbers too, zeros and the negative among them: they may be off by more than the "
    "right ones are large, be it that the tolerance or range is wide or that the numbers are small.",
    "How large are the right numbers, and how far apart are they and those of the piece above? How far may they be "
    "off?",
)
EXPECTS_THE_BROKEN = (
    "It refuses the sound pieces and passes for a broken one: what it expects comes out only where the fault is.",
    "What does the formula of the text give for your numbers, and is that what your test expects?",
)
REFUSES_THE_RIGHT = (
    "It does the opposite: it refuses the sound pieces, and passes for those whose numbers are others, the broken "
    "ones too.",
    "`assert` says what should hold for a sound piece. Does yours, or is there a `not`, a `!=` or a sign too many?",
)
COMPARES_WITH_ITSELF = (
    "Of all pieces that were tried it refuses only those that give nan or nothing, or other numbers in each call. "
    "So does a test that compares results of a piece with each other: in the broken piece they agree.",
    "Which number should come out? Work it out by hand, or by the formula.",
)
ASKS_FOR_SHAPE_AND_FINITE = (
    "Of all pieces that were tried, it refuses only those of another shape, or without finite numbers. The piece above "
    "has the right shape and finite numbers."
)
ASKS_FOR_A_GRADIENT = (
    "Of all pieces that were tried it refuses only those without a gradient, or with one of 0 or nan. In the piece "
    "above a gradient comes back too."
)


def widened(piece: Callable[..., Tensor]) -> Case:
    """`piece` with one more column: nothing can be compared with its result."""

    def wide(*args: Any) -> Tensor:
        out = piece(*args)
        return torch.cat([out, out[..., :1]], dim=-1)

    return Case("a piece of another shape", (wide,), judged=False)


class Wavering:
    """A piece with other multiples of its result in turn. A copy, which every answer gets, begins with the first."""

    factors = (2.3, 2.7, 3.1, 3.7, 4.1, 4.3, 4.7)

    def __init__(self, piece: Callable[..., Tensor]):
        self.piece, self.n_calls = piece, 0

    def __call__(self, *args: Any) -> Tensor:
        self.n_calls += 1
        return self.factors[(self.n_calls - 1) % len(self.factors)] * self.piece(*args)


def wavering(piece: Callable[..., Tensor]) -> Case:
    """`piece` with other numbers in every call: a test that compares two calls refuses it."""
    return Case("a piece that gives other numbers in every call", (Wavering(piece),), judged=False)


def shifted(piece: Callable[..., Tensor]) -> Case:
    """`piece` with a result that is a little too large: a test with a loose tolerance lets it through."""
    return Case("a piece that is off by 0.02", (lambda *args: piece(*args) + 0.02,), judged=False)
