"""The known wrong answers to newton_schulz, of notebook 07, about the powers of x and the three numbers."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz import iterate
from lab_utils.course.exercise import mistake

A, B, C = 3.4445, -4.7750, 2.0315


def rounds(g, steps, dtype, new):
    """`steps` rounds in which x becomes new(x, gram)."""
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        x = new(x, x @ x.mT)
    return x


@mistake(
    "The term with b is of the fifth power too: the bracket of both terms is multiplied by the gram matrix.",
    "Write your line out as powers of x. The three terms must be of powers 1, 3 and 5.",
)
def newton_schulz_with_a_gram_too_many(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: A * x + (B * gram + C * gram) @ gram @ x)


@mistake(
    "The last term is of the seventh power: x·xᵀ·x is multiplied by its own transpose, which has three factors too.",
    "Count the factors x in your last term. The three terms must be of powers 1, 3 and 5.",
)
def newton_schulz_of_the_seventh_power(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: A * x + (B * gram + C * gram @ gram @ gram) @ x)


@mistake(
    "The term of the third power, with b, is missing.",
    "How many terms does the polynomial of the docstring have?",
)
def newton_schulz_without_b(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: A * x + C * gram @ gram @ x)


@mistake(
    "The term of the first power, with a, is missing.",
    "How many terms does the polynomial of the docstring have?",
)
def newton_schulz_without_a(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: (B * gram + C * gram @ gram) @ x)


@mistake(
    "The term a·x has no factor: x is added as it is.",
    "What stands before x in the docstring's formula?",
)
def newton_schulz_with_one_for_a(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: x + (B * gram + C * gram @ gram) @ x)


@mistake(
    "The new x is added to the old one: a round replaces x.",
    "How often is the old x in your new one: a times, as in the docstring, or a + 1 times?",
)
def newton_schulz_adding_rounds(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: x + A * x + (B * gram + C * gram @ gram) @ x)


@mistake(
    "Two digits of c have changed places: 2.3015 stands here, and 2.0315 in the docstring.",
    "Compare your three coefficients with the docstring's, digit by digit.",
)
def newton_schulz_with_digits_exchanged(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(A, B, 2.3015))


@mistake(
    "Two digits of b have changed places: -4.7570 stands here, and -4.7750 in the docstring.",
    "Compare your three coefficients with the docstring's, digit by digit.",
)
def newton_schulz_with_digits_of_b_exchanged(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(A, -4.7570, C))


@mistake(
    "The coefficients are rounded to two digits after the point. Five rounds make much of the rest.",
    "Compare your three coefficients with the docstring's, digit by digit.",
)
def newton_schulz_with_rounded_coefficients(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.44, -4.78, 2.03))


@mistake(
    "These are the coefficients of the textbook's quintic, 15/8, -10/8 and 3/8. They converge to 1, but slowly.",
    "Compare your three coefficients with the docstring's.",
)
def newton_schulz_with_the_textbooks_quintic(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(15 / 8, -10 / 8, 3 / 8))


@mistake(
    "g is changed: the division by the norm, or a round, writes into the caller's matrix where it has the right format "
    "already.",
    "Which of your calls end in _ or assign with /=, and does x share its memory with g?",
)
def newton_schulz_writing_into_g(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    x /= x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    return iterate(x, steps, dtype, divide=False)


@mistake(
    "xᵀ·x stands on the left of x, where only x·xᵀ fits: with a matrix that is not square torch cannot multiply them.",
    "x is 2 x 3. What shape has x·xᵀ, what shape xᵀ·x, and which of them fits on the left of x?",
)
def newton_schulz_with_the_other_gram_on_the_left(g, steps=5, dtype=torch.bfloat16):
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        gram = x.mT @ x
        x = A * x + (B * gram + C * gram @ gram) @ x
    return x


@mistake(
    "The fifth power has the factor b·c: c multiplies a term that has its b already.",
    "Write your line out as powers of x. Which factor has each of them?",
)
def newton_schulz_with_b_times_c(g, steps=5, dtype=torch.bfloat16):
    return rounds(g, steps, dtype, lambda x, gram: A * x + B * gram @ x + C * gram @ (B * gram @ x))


NEWTON_SCHULZ_POWERS = (
    newton_schulz_with_b_times_c,
    newton_schulz_with_the_other_gram_on_the_left,
    newton_schulz_with_a_gram_too_many,
    newton_schulz_of_the_seventh_power,
    newton_schulz_without_b,
    newton_schulz_without_a,
    newton_schulz_with_one_for_a,
    newton_schulz_adding_rounds,
    newton_schulz_with_digits_exchanged,
    newton_schulz_with_digits_of_b_exchanged,
    newton_schulz_with_rounded_coefficients,
    newton_schulz_with_the_textbooks_quintic,
    newton_schulz_writing_into_g,
)
