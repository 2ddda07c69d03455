"""The known wrong answers to newton_schulz, of notebook 07, about the rounds of products."""

import torch

from lab_utils.course.exercise import mistake


def iterate(
    g, steps, dtype, coefficients=(3.4445, -4.7750, 2.0315), norm_over=(-2, -1), least=1e-7, divide=True
):
    """Written out, with the places where a mistake goes."""
    a, b, c = coefficients
    x = g.to(dtype, copy=True)
    if divide:
        x = x / x.norm(dim=norm_over, keepdim=True).clamp(min=least)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@mistake(
    "A bank is orthogonalised as one tall matrix. Every leading index is a matrix of its own.",
    "Compare the result for a bank with that for each of its matrices alone.",
)
def newton_schulz_of_the_stack(g, steps=5, dtype=torch.bfloat16):
    return iterate(g.reshape(-1, g.shape[-1]), steps, dtype).reshape(g.shape)


@mistake(
    "This is the textbook's cubic, 1.5·x - 0.5·x³. It converges to 1, but small singular values need many more steps.",
    "How many terms does the polynomial of the docstring have?",
)
def newton_schulz_cubic(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(1.5, -0.5, 0.0))


@mistake(
    "The coefficients b and c are exchanged.",
    "Which coefficient belongs to the third power, and which to the fifth?",
)
def newton_schulz_with_b_and_c_exchanged(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, 2.0315, -4.7750))


@mistake(
    "The gram matrix is not squared: c multiplies x·xᵀ instead of (x·xᵀ)².",
    "The last term must be of the fifth power of x. Of which power is yours?",
)
def newton_schulz_without_the_square(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, -4.7750 + 2.0315, 0.0))


@mistake(
    "(x·xᵀ)² is squared entry by entry. It is a product of matrices, the gram matrix times itself.",
    "What does `**2` do to a tensor, and what would `@` do?",
)
def newton_schulz_squaring_entries(g, steps=5, dtype=torch.bfloat16):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram**2) @ x
    return x


@mistake(
    "`steps` makes no difference: your function always takes five.",
    "Follow the argument `steps` through your code.",
)
def newton_schulz_always_five_steps(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, 5, dtype)


@mistake(
    "The sign of b is lost: the third power is added, and the numbers explode.",
    "What is the sum of the three coefficients?",
)
def newton_schulz_with_a_positive_b(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, 4.7750, 2.0315))


@mistake(
    "The term of the fifth power, with c, is missing.",
    "How many terms does the polynomial of the docstring have?",
)
def newton_schulz_without_c(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, coefficients=(3.4445, -4.7750, 0.0))


@mistake(
    "There is one round too many.",
    "How often does your loop run for steps = 1?",
)
def newton_schulz_a_step_more(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps + 1, dtype)


@mistake(
    "There is one round too few.",
    "How often does your loop run for steps = 1?",
)
def newton_schulz_a_step_less(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps - 1, dtype)


@mistake(
    "The polynomial is taken of every entry. It must be taken of the matrix, by products with `@`.",
    "What does `**3` do to a tensor, and what would x @ x.mT @ x be?",
)
def newton_schulz_entry_by_entry(g, steps=5, dtype=torch.bfloat16):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        x = a * x + b * x**3 + c * x**5
    return x


@mistake(
    "A tall matrix is transposed and not turned back.",
    "What shape has your result for a matrix of 5 x 3?",
)
def newton_schulz_not_turned_back(g, steps=5, dtype=torch.bfloat16):
    x = iterate(g, steps, dtype)
    return x.mT if g.shape[-2] > g.shape[-1] else x


@mistake(
    "The x of the first round is multiplied in every round: x is not replaced by the new one in all places.",
    "After a round, which x goes into the next gram matrix, and which is multiplied by it?",
)
def newton_schulz_with_the_first_x(g, steps=5, dtype=torch.bfloat16):
    a, b, c = 3.4445, -4.7750, 2.0315
    first = x = iterate(g, 0, dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ first
    return x


@mistake(
    "The gram matrix is computed once, before the rounds. It must be made anew from the x of each round.",
    "Which lines of your code are inside the loop?",
)
def newton_schulz_with_one_gram_matrix(g, steps=5, dtype=torch.bfloat16):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = iterate(g, 0, dtype)
    gram = x @ x.mT
    for _ in range(steps):
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@mistake(
    "It is wrong for square matrices only: xᵀ·x stands on the left of x there, where x·xᵀ belongs.",
    "Which gram matrix may stand on the left of x, and which on the right? Where do the shapes not tell?",
)
def newton_schulz_on_the_wrong_side(g, steps=5, dtype=torch.bfloat16):
    if g.shape[-2] != g.shape[-1]:
        return iterate(g, steps, dtype)
    a, b, c = 3.4445, -4.7750, 2.0315
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        gram = x.mT @ x
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


NEWTON_SCHULZ_ROUNDS = (
    newton_schulz_of_the_stack,
    newton_schulz_cubic,
    newton_schulz_with_b_and_c_exchanged,
    newton_schulz_without_the_square,
    newton_schulz_squaring_entries,
    newton_schulz_always_five_steps,
    newton_schulz_with_a_positive_b,
    newton_schulz_without_c,
    newton_schulz_a_step_more,
    newton_schulz_a_step_less,
    newton_schulz_entry_by_entry,
    newton_schulz_not_turned_back,
    newton_schulz_with_the_first_x,
    newton_schulz_with_one_gram_matrix,
    newton_schulz_on_the_wrong_side,
)
