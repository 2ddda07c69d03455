"""The known wrong answers to newton_schulz, of notebook 07, about the norm before the rounds and the number format."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.newton_schulz import iterate
from lab_utils.course.exercise import mistake


@mistake(
    "The matrix is not divided by its norm. Above a singular value of about 1.3 the quintic diverges.",
    "The first step: between which bounds must the singular values lie, and what guarantees it?",
)
def newton_schulz_without_norm(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, divide=False)


@mistake(
    "One norm is taken over the whole bank. Every matrix of it must be divided by its own.",
    "Over which dimensions does your norm run, if `g` has three of them?",
)
def newton_schulz_with_one_norm_for_all(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    return iterate(x / x.norm().clamp(min=1e-7), steps, dtype, divide=False)


@mistake(
    "Every row is divided by its own norm. The docstring asks for one number per matrix: its Frobenius norm.",
    "Two rows of different length: which of them should be the shorter one afterwards?",
)
def newton_schulz_with_a_norm_a_row(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=-1)


@mistake(
    "The matrix is divided by its largest singular value. The docstring asks for the Frobenius norm, which costs no "
    "decomposition.",
    "Which norm is the root of the sum of all squared entries?",
)
def newton_schulz_by_the_largest_singular_value(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    largest = torch.linalg.matrix_norm(x.to(torch.promote_types(dtype, torch.float32)), ord=2, keepdim=True)
    return iterate(x / largest.clamp(min=1e-7).to(dtype), steps, dtype, divide=False)


@mistake(
    "Nothing guards against a norm of 0: a matrix without gradient becomes nan.",
    "What does your function return for a matrix of zeros?",
)
def newton_schulz_of_zero_is_nan(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, least=0.0)


@mistake(
    "1e-7 is added to the norm. Published code does that too, and it shows only where a matrix is nearly zero; the "
    "docstring asks for a lower bound instead.",
    "A norm of 1e-9: by which number does your function divide?",
)
def newton_schulz_adding_eps(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype, copy=True)
    return iterate(x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7), steps, dtype, divide=False)


@mistake(
    "This is the exact U·Vᵀ, by a singular value decomposition. The docstring asks for products that come near it.",
    "What are the singular values of your result, and those of the quintic's after five steps?",
)
def newton_schulz_by_svd(g, steps=5, dtype=torch.bfloat16):
    u, _, vt = torch.linalg.svd(g.to(torch.promote_types(dtype, torch.float32)), full_matrices=False)
    return (u @ vt).to(dtype)


@mistake(
    "The matrix is divided by the square of its norm: the root is missing.",
    "Three and four as the only entries: what is the norm?",
)
def newton_schulz_by_the_squared_norm(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    return iterate(x / x.square().sum((-2, -1), keepdim=True).clamp(min=1e-7), steps, dtype, divide=False)


@mistake(
    "The lower bound of the norm is larger than 1e-7, so small matrices stay small.",
    "What does your function return for a matrix whose norm is 1e-8?",
)
def newton_schulz_with_a_high_bound(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, least=1e-3)


@mistake(
    "The matrix is divided by its norm in every round. Once, at the start, is enough: the quintic needs the sizes that "
    "it made itself.",
    "Where in the docstring does the division stand, before the rounds or in them?",
)
def newton_schulz_norming_every_round(g, steps=5, dtype=torch.bfloat16):
    x = iterate(g, 0, dtype)
    for _ in range(steps):
        x = iterate(x, 1, dtype, divide=False)
        x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    return x


@mistake(
    "The matrix is divided by its norm in every round. Once, at the start, is enough: the quintic needs the sizes that "
    "it made itself.",
    "Where in the docstring does the division stand, before the rounds or in them?",
)
def newton_schulz_norming_before_every_round(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    for _ in range(steps):
        x = iterate(x, 1, dtype)
    return x


@mistake(
    "The result has the format of g. The docstring asks for `dtype`.",
    "What is the dtype of your result for a float32 matrix and dtype=torch.float64?",
)
def newton_schulz_in_the_format_of_g(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype).to(g.dtype)


@mistake(
    "`dtype` makes no difference: everything is computed in the format of g.",
    "Follow the argument `dtype` through your code.",
)
def newton_schulz_ignoring_dtype(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, g.dtype)


@mistake(
    "Everything is computed in the format of g, and only the result is converted to `dtype`.",
    "Where does your code convert: before the norm, or after the loop?",
)
def newton_schulz_converting_last(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, g.dtype).to(dtype)


@mistake(
    "`dtype` makes no difference: everything is computed in bfloat16 and converted at the end.",
    "Follow the argument `dtype` through your code.",
)
def newton_schulz_always_in_bfloat16(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, torch.bfloat16).to(dtype)


@mistake(
    "The matrix is divided by the largest of its entries. The docstring asks for the Frobenius norm, the root of the "
    "sum of all squared entries.",
    "Which norm is the root of the sum of all squared entries?",
)
def newton_schulz_by_the_largest_entry(g, steps=5, dtype=torch.bfloat16):
    x = g.to(dtype)
    return iterate(x / x.abs().amax((-2, -1), keepdim=True).clamp(min=1e-7), steps, dtype, divide=False)


@mistake(
    "Every column is divided by its own norm. The docstring asks for one number per matrix: its Frobenius norm.",
    "Two columns of different length: which of them should be the shorter one afterwards?",
)
def newton_schulz_with_a_norm_a_column(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=-2)


@mistake(
    "The norm runs over the first two dimensions. In a bank the first one counts matrices; rows and columns are the "
    "last two.",
    "Over which dimensions does your norm run, if `g` has three of them?",
)
def newton_schulz_with_the_norm_of_the_first_dimensions(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype, norm_over=(0, 1))


@mistake(
    "The result is multiplied by the norm of g. U·Vᵀ does not know how large g was.",
    "Ten times the gradient: should the result change?",
)
def newton_schulz_of_the_old_length(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, steps, dtype) * g.to(dtype).norm(dim=(-2, -1), keepdim=True)


@mistake(
    "A matrix whose norm is far below 1e-7 gives zeros, or next to nothing. It should be divided by 1e-7, and its "
    "rounds go on.",
    "What does your function return for a matrix whose norm is 1e-8?",
)
def newton_schulz_of_little_is_zero(g, steps=5, dtype=torch.bfloat16):
    norm = g.to(dtype).norm(dim=(-2, -1), keepdim=True)
    return iterate(g.to(dtype) * (norm >= 1e-7), steps, dtype)


NEWTON_SCHULZ_NORM = (
    newton_schulz_with_a_norm_a_column,
    newton_schulz_with_the_norm_of_the_first_dimensions,
    newton_schulz_of_the_old_length,
    newton_schulz_of_little_is_zero,
    newton_schulz_without_norm,
    newton_schulz_with_one_norm_for_all,
    newton_schulz_with_a_norm_a_row,
    newton_schulz_by_the_largest_singular_value,
    newton_schulz_of_zero_is_nan,
    newton_schulz_adding_eps,
    newton_schulz_by_svd,
    newton_schulz_by_the_squared_norm,
    newton_schulz_with_a_high_bound,
    newton_schulz_norming_every_round,
    newton_schulz_norming_before_every_round,
    newton_schulz_in_the_format_of_g,
    newton_schulz_ignoring_dtype,
    newton_schulz_converting_last,
    newton_schulz_always_in_bfloat16,
    newton_schulz_by_the_largest_entry,
)
