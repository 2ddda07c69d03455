"""The known wrong answers to newton_schulz, of notebook 07."""

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
    return iterate(g, steps, dtype, norm_over=tuple(range(g.ndim)))


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
    "A bank is orthogonalised as one tall matrix. Every leading index is a matrix of its own.",
    "Compare the result for a bank with that for each of its matrices alone.",
)
def newton_schulz_of_the_stack(g, steps=5, dtype=torch.bfloat16):
    return iterate(g.reshape(-1, g.shape[-1]), steps, dtype).reshape(g.shape)


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
    "`steps` is not used: your function always takes five.",
    "Follow the argument `steps` through your code.",
)
def newton_schulz_always_five_steps(g, steps=5, dtype=torch.bfloat16):
    return iterate(g, 5, dtype)


@mistake(
    "This is the exact U·Vᵀ, by a singular value decomposition. The docstring asks for products that come near it.",
    "What are the singular values of your result, and those of the quintic's after five steps?",
)
def newton_schulz_by_svd(g, steps=5, dtype=torch.bfloat16):
    u, s, vt = torch.linalg.svd(g.to(torch.promote_types(dtype, torch.float32)), full_matrices=False)
    return (u * (s > 0)[..., None, :] @ vt).to(dtype)


NEWTON_SCHULZ = (
    newton_schulz_without_norm,
    newton_schulz_with_one_norm_for_all,
    newton_schulz_with_a_norm_a_row,
    newton_schulz_by_the_largest_singular_value,
    newton_schulz_of_the_stack,
    newton_schulz_of_zero_is_nan,
    newton_schulz_adding_eps,
    newton_schulz_cubic,
    newton_schulz_with_b_and_c_exchanged,
    newton_schulz_without_the_square,
    newton_schulz_squaring_entries,
    newton_schulz_always_five_steps,
    newton_schulz_by_svd,
)
