"""The known wrong answers to newton_schulz, of notebook 07, about sums over other axes and small norms."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz import iterate
from lab_utils.course.exercise import mistake

A_NUMBER_PER_MATRIX = (
    "Over which dimensions does your norm run, if `g` has three of them? Is it one number per matrix?"
)
OF_A_SMALL_NORM = "A norm of 1e-9: by which number does your function divide?"


def added(g, steps, dtype, norm_over, eps=1e-7):
    """Each matrix divided by a norm to which `eps` is added."""
    x = g.to(dtype, copy=True)
    return iterate(x / (x.norm(dim=norm_over, keepdim=True) + eps), steps, dtype, divide=False)


@mistake(
    "Two things: one norm is taken over the whole bank, and 1e-7 is added to it. Every matrix must be divided by its "
    "own norm, and 1e-7 is a lower bound.",
    A_NUMBER_PER_MATRIX,
)
def newton_schulz_with_one_norm_and_eps(g, steps=5, dtype=torch.bfloat16):
    return added(g, steps, dtype, None)


@mistake(
    "Two things: every row is divided by its own norm, and 1e-7 is added to it. The docstring asks for one number per "
    "matrix, and 1e-7 is a lower bound.",
    A_NUMBER_PER_MATRIX,
)
def newton_schulz_with_a_norm_a_row_and_eps(g, steps=5, dtype=torch.bfloat16):
    return added(g, steps, dtype, -1)


@mistake(
    "Two things: every column is divided by its own norm, and 1e-7 is added to it. The docstring asks for one number "
    "per matrix, and 1e-7 is a lower bound.",
    A_NUMBER_PER_MATRIX,
)
def newton_schulz_with_a_norm_a_column_and_eps(g, steps=5, dtype=torch.bfloat16):
    return added(g, steps, dtype, -2)


@mistake(
    "The norm runs over the first dimension alone. That is one norm for each column of a matrix, and in a bank one for "
    "each place in a matrix, over all matrices.",
    A_NUMBER_PER_MATRIX,
)
def newton_schulz_with_the_norm_of_the_first_dimension(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=0)


@mistake(
    "With two leading dimensions, all matrices with the same first index are divided by one norm, that of all of them. "
    "Every matrix must be divided by its own.",
    "Over which dimensions does your norm run, if `g` has four of them?",
)
def newton_schulz_with_a_norm_per_first_index(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=tuple(range(min(1, g.ndim - 2), g.ndim)))


@mistake(
    "A matrix whose norm is far below 1e-7 is divided by that norm all the same. The docstring divides it by 1e-7.",
    OF_A_SMALL_NORM,
)
def newton_schulz_with_a_low_bound(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, least=1e-20)


@mistake(
    "A matrix whose norm is far below 1e-7 is divided by about 3.2e-4, the root of 1e-7. The docstring divides it by "
    "1e-7: that bounds the norm, not the sum of squares.",
    OF_A_SMALL_NORM,
)
def newton_schulz_bounding_the_squares(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, least=1e-7**0.5)


@mistake(
    "1e-7 is added to the sum of squares, before the root. The docstring asks for a lower bound of the norm, and a "
    "matrix whose norm is far below 1e-7 is divided by 3.2e-4 here.",
    OF_A_SMALL_NORM,
)
def newton_schulz_adding_eps_to_the_squares(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype, copy=True)
    squares = x.square().sum(dim=(-2, -1), keepdim=True)
    return iterate(x / (squares + 1e-7).sqrt(), steps, dtype, divide=False)


@mistake(
    "1e-7 is added to every entry after the division, not to the norm: zeros divided by a norm of 0 are nan before.",
    "What does Python compute first in x / n + e?",
)
def newton_schulz_adding_eps_to_the_entries(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype, copy=True)
    return iterate(x / x.norm(dim=(-2, -1), keepdim=True) + 1e-7, steps, dtype, divide=False)


NEWTON_SCHULZ_EPS = (
    newton_schulz_with_one_norm_and_eps,
    newton_schulz_with_a_norm_a_row_and_eps,
    newton_schulz_with_a_norm_a_column_and_eps,
    newton_schulz_with_the_norm_of_the_first_dimension,
    newton_schulz_with_a_norm_per_first_index,
    newton_schulz_with_a_low_bound,
    newton_schulz_bounding_the_squares,
    newton_schulz_adding_eps_to_the_squares,
    newton_schulz_adding_eps_to_the_entries,
)
