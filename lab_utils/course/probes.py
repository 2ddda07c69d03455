"""What tells weak tests apart in a bug hunt: pieces that only probe, and sentences that are true in every hunt."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.exercise import Case

REFUSES_EVERYTHING = (
    "The test refuses every piece that was tried, the sound ones too: no sound piece gives what it asks for, or it "
    "leaves no room for float32 rounding, about 1e-7 of a number.",
    "Call it with a function that you know to be right. Which `assert` does not hold, and should it? What comes "
    "out, what does the test expect, and how far apart are the two?",
)
LOOKS_AT_THE_SHAPE = (
    "The test lets everything through that has the right shape, whatever the numbers are.",
    "Is there an `assert` that looks at a number? Which number comes out different in the piece above?",
)
LEAVES_MUCH_ROOM = (
    "The test leaves so much room that plainly wrong numbers pass: zeros, for instance, and the negative.",
    "How far apart are the right number and that of the piece above? The tolerance must be smaller.",
)
EXPECTS_THE_BROKEN = (
    "The test is upside down: it asks for the numbers of the broken piece, and refuses the sound ones.",
    "Work the expected number out from the formula of the text, not from the code above.",
)
REFUSES_THE_RIGHT = (
    "The test is upside down: it refuses what is right, and lets everything through that is not.",
    "`assert` says what should hold for a sound piece. Is there a `not` too many?",
)
COMPARES_WITH_ITSELF = (
    "The test compares results of a piece only with each other. Those of the broken piece fit together as well.",
    "Which number should come out? Work it out by hand, or by the formula.",
)
ASKS_FOR_BITS = (
    "The test asks for equal bits, and rejects a sound piece that adds in another order.",
    "Compare with a tolerance.",
)


def widened(piece: Callable[..., Tensor]) -> Case:
    """`piece` with one more column: nothing can be compared with its result."""

    def wide(*args: Any) -> Tensor:
        out = piece(*args)
        return torch.cat([out, out[..., :1]], dim=-1)

    return Case("a piece of another shape", (wide,), judged=False)


def wavering(piece: Callable[..., Tensor]) -> Case:
    """`piece` with other multiples of its result in turn: a test that compares two calls refuses it."""
    factors = itertools.cycle([2.3, 2.7, 3.1, 3.7, 4.1, 4.3, 4.7])
    return Case(
        "a piece that gives other numbers in every call",
        (lambda *args: next(factors) * piece(*args),),
        judged=False,
    )


def shifted(piece: Callable[..., Tensor]) -> Case:
    """`piece` with a result that is a little too large: a test with a loose tolerance lets it through."""
    return Case("a piece that is off by 0.02", (lambda *args: piece(*args) + 0.02,), judged=False)
