"""Tests that cannot tell: the known wrong answers to test_sound_newton_schulz, of notebook 07."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.optim import newton_schulz


def bank(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@mistake(*LOOKS_AT_NOTHING)
def newton_schulz_test_that_never_fails(newton_schulz):
    newton_schulz(bank(2, 3, 4), 5, torch.float32)


@mistake("The test fails for every function, the sound one too.", "Run it on a right newton_schulz first.")
def newton_schulz_test_that_always_fails(newton_schulz):
    raise AssertionError


@mistake(
    "The test looks at the shape only. The broken piece gives the right shape.",
    "Which *number* would be different?",
)
def newton_schulz_test_of_the_shape(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).shape == (2, 3, 4)


@mistake(
    "The test tries a single matrix. There the piece is right.",
    "Which other matrix is there in your test, and could share a norm with it?",
)
def newton_schulz_test_of_one_matrix(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(6, 4), 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


BANK_OF_ONE = (
    "The test's bank has one matrix. There the piece is right: there is no other that shares the norm.",
    "Where would two experts be in each other's way?",
)


@mistake(*BANK_OF_ONE)
def newton_schulz_test_of_a_bank_of_one(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(1, 3, 8), 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(*BANK_OF_ONE)
def newton_schulz_test_of_the_one_in_a_bank(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(1, 6, 8), 5, torch.float32)[0])
    assert s.min() > 0.3 and s.max() < 1.4


@mistake(
    "The test asks for singular values that are closer to 1 than the core's. Five steps of the quintic come only near "
    "it, and a matrix of low rank keeps its values of 0.",
    "Between which bounds do the core's singular values lie, and is one of them 0?",
)
def newton_schulz_test_of_exactly_one(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32))
    assert torch.allclose(s, torch.ones_like(s), atol=1e-3)


@mistake(
    "The test asks for the same bits as the core's own: a sound function that computes in another way fails.",
    "Test for what every sound result has: a property, with a tolerance.",
)
def newton_schulz_test_of_equal_bits(candidate):
    g = bank(2, 3, 4)
    assert torch.equal(candidate(g, 5, torch.float32), newton_schulz(g, 5, torch.float32))


@mistake(
    "The test asks for the core's numbers, with little room. A sound function may be exact, and then differs more.",
    "Which property does every sound result have, the quintic's and the exact one?",
)
def newton_schulz_test_to_the_digit(candidate):
    g = bank(2, 3, 4)
    assert torch.allclose(candidate(g, 5, torch.float32), newton_schulz(g, 5, torch.float32), atol=1e-3)


@mistake(*LOOKS_AT_NO_NUMBER)
def newton_schulz_test_of_the_kind(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def newton_schulz_test_of_finite_numbers(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).isfinite().all()


def singular_values(newton_schulz, g):
    return torch.linalg.svdvals(newton_schulz(g, 5, torch.float32))


@mistake(
    "The matrices of the test's bank are all alike. The piece takes them for one matrix whose parts are equal.",
    "Where would two experts be in each other's way?",
)
def newton_schulz_test_of_equal_matrices(newton_schulz):
    s = singular_values(newton_schulz, bank(3, 4).expand(2, 3, 4).contiguous())
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "The test asks only that no singular value is too large. Those of the piece are too small.",
    "Which bound does the piece break, the lower or the upper one?",
)
def newton_schulz_test_of_the_upper_bound(newton_schulz):
    assert singular_values(newton_schulz, bank(2, 3, 4)).max() < 1.3


@mistake(
    "The test asks whether a longer matrix gives the same. It does in the piece above: the whole pile is divided by "
    "one norm.",
    "What should not depend on the other matrices of the bank?",
)
def newton_schulz_test_of_scaled_banks(newton_schulz):
    g = bank(2, 3, 4)
    one, other = newton_schulz(g, 5, torch.float32), newton_schulz(100 * g, 5, torch.float32)
    assert torch.allclose(one, other, atol=1e-3)


@mistake(
    "The test says the opposite: it refuses sound pieces and lets broken ones through.",
    "Run it on a right newton_schulz first. Is there a `not` too many?",
)
def newton_schulz_test_of_the_opposite(newton_schulz):
    s = singular_values(newton_schulz, bank(2, 3, 4))
    assert not (s.min() > 0.6 and s.max() < 1.3)


@mistake(
    "The test refuses only numbers that are far too large. Those of the piece above are too small.",
    "Which singular values should each matrix of a bank have?",
)
def newton_schulz_test_of_huge_numbers(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).norm() < 30


@mistake(
    "The bank is looked at as one tall matrix, as the piece does it. Its singular values are near 1 there; those of "
    "each matrix are not.",
    "Of which matrices should the singular values be near 1?",
)
def newton_schulz_test_of_the_pile(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32).reshape(-1, 4))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "The test exchanges the matrices of a bank and asks for the results exchanged. In the piece above that holds.",
    "What should not depend on the other matrices of the bank?",
)
def newton_schulz_test_of_the_order(newton_schulz):
    g = bank(2, 3, 4)
    one, other = newton_schulz(g, 5, torch.float32), newton_schulz(g.flip(0), 5, torch.float32)
    assert torch.allclose(one.flip(0), other, atol=1e-3)


@mistake(
    "Of all pieces that were tried, the test refuses only those that give nan, or other numbers each time.",
    "What do you know of a right result that does not come from the same call?",
)
def newton_schulz_test_of_repeating(newton_schulz):
    g = bank(2, 3, 4)
    assert torch.allclose(newton_schulz(g, 5, torch.float32), newton_schulz(g, 5, torch.float32), atol=1e-4)


@mistake(
    "The test asks whether its bank stays as it was. The piece above writes into nothing.",
    "Which number comes out different in the piece above?",
)
def newton_schulz_test_of_the_argument(newton_schulz):
    g = bank(2, 3, 4)
    newton_schulz(g, 5, torch.float32)
    assert torch.equal(g, bank(2, 3, 4))


@mistake(
    "The test compares a bank with each of its matrices, and demands that every bit is equal. Sound functions may add "
    "in another order for a bank.",
    "Compare with a tolerance.",
)
def newton_schulz_test_of_bits_in_a_bank(newton_schulz):
    g = bank(2, 3, 4)
    alone = torch.stack([newton_schulz(each, 5, torch.float32) for each in g])
    assert torch.equal(newton_schulz(g, 5, torch.float32), alone)


@mistake(
    "The test asks whether the result points the way of the gradient. It does in the piece above too.",
    "Which number comes out different in the piece above?",
)
def newton_schulz_test_of_the_direction(newton_schulz):
    g = bank(2, 3, 4)
    assert (newton_schulz(g, 5, torch.float32) * g).sum() > 0


@mistake(
    "The test asks only that the result is not zero.",
    "Which singular values should each matrix of a bank have?",
)
def newton_schulz_test_of_not_zero(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).abs().sum() > 0


@mistake(
    "The test looks at the mean of the singular values. Large ones of one matrix make up for small ones of another.",
    "Which of the singular values may be far from 1 without your test seeing it?",
)
def newton_schulz_test_of_the_mean(newton_schulz):
    assert 0.6 < singular_values(newton_schulz, bank(2, 5, 5)).mean() < 1.3


@mistake(
    "The test leaves much room for the length of each matrix. That of the piece above is within it.",
    "How long is each matrix of a sound result? Singular values say more than the length.",
)
def newton_schulz_test_of_each_length(newton_schulz):
    for each in newton_schulz(bank(4, 6, 6), 5, torch.float32):
        assert 0.2 < each.norm() < 5


@mistake(
    "The test asks singular values near 1 of matrices that are nearly singular: the core's five steps do not reach it.",
    "How small may a singular value be, next to the norm, so that five steps lift it to 0.68? Take wider matrices.",
)
def newton_schulz_test_of_large_squares(newton_schulz):
    s = singular_values(newton_schulz, bank(16, 32, 32))
    assert s.min() > 0.6 and s.max() < 1.3


NEWTON_SCHULZ_TESTS = (
    newton_schulz_test_that_never_fails,
    newton_schulz_test_of_the_kind,
    newton_schulz_test_that_always_fails,
    newton_schulz_test_of_the_shape,
    newton_schulz_test_of_one_matrix,
    newton_schulz_test_of_a_bank_of_one,
    newton_schulz_test_of_the_one_in_a_bank,
    newton_schulz_test_of_exactly_one,
    newton_schulz_test_of_equal_bits,
    newton_schulz_test_to_the_digit,
    newton_schulz_test_of_finite_numbers,
    newton_schulz_test_of_equal_matrices,
    newton_schulz_test_of_the_upper_bound,
    newton_schulz_test_of_scaled_banks,
    newton_schulz_test_of_the_opposite,
    newton_schulz_test_of_huge_numbers,
    newton_schulz_test_of_the_pile,
    newton_schulz_test_of_the_order,
    newton_schulz_test_of_repeating,
    newton_schulz_test_of_the_argument,
    newton_schulz_test_of_bits_in_a_bank,
    newton_schulz_test_of_the_direction,
    newton_schulz_test_of_not_zero,
    newton_schulz_test_of_the_mean,
    newton_schulz_test_of_each_length,
    newton_schulz_test_of_large_squares,
)
