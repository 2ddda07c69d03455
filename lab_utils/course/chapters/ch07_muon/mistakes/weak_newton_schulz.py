"""Tests that cannot tell: the known wrong answers to test_sound_newton_schulz, of notebook 07."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS
from nanokimi.optim import newton_schulz


def bank(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@mistake(*LOOKS_AT_NOTHING)
def newton_schulz_test_that_never_fails(newton_schulz):
    newton_schulz(bank(2, 3, 4), 5, torch.float32)


@mistake(
    f"It passes for no piece that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "What does it ask for that a right newton_schulz does not give? How far apart are the two? If it multiplies a "
    "result by its transpose: which of the two products can be near the identity, with your shapes?",
)
def newton_schulz_test_that_always_fails(newton_schulz):
    raise AssertionError


@mistake(
    "It passes for all pieces that were tried but one of another shape, and one that gives nothing. The broken "
    "piece gives the right shape.",
    "Which *number* would be different, and which `assert` looks at it?",
)
def newton_schulz_test_of_the_shape(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).shape == (2, 3, 4)


@mistake(
    "It passes for a piece that is right for the first matrix of a bank only: no other one counts, as where there "
    "is a single matrix. There the broken piece is right.",
    "Which other matrix is there in your test, and does it change the norm?",
)
def newton_schulz_test_of_one_matrix(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(6, 4), 5, torch.float32))
    assert s.min() > 0.6 and s.max() < 1.3


BANK_OF_ONE = (
    "It passes for a piece that is right for the first matrix of a bank only: no other one counts, as where the "
    "bank has one matrix, or all the others are nearly 0. There the broken piece is right.",
    "Which other matrix is there in your test, does it change the norm, and does the test look at it?",
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
    "It refuses the core's function, and passes for an exact one: it asks for singular values nearer to 1 than five "
    "steps of the quintic bring them, be it by a small tolerance, or for a matrix that has one at 0 or near it.",
    "Between which bounds do the core's singular values lie, with your matrices, and is one of them 0?",
)
def newton_schulz_test_of_exactly_one(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32))
    assert torch.allclose(s, torch.ones_like(s), atol=1e-3)


@mistake(
    "It passes for the core's function, and refuses an exact one: it asks for the core's numbers, with little room. "
    "A sound function may be exact, and then differs more.",
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
    "It refuses the piece above, and passes for the same fault in an exact function: with its bank the values of "
    "each matrix come near enough to 1 there, be it that all matrices are alike or that the bounds are wide.",
    "Which singular values has each matrix when the whole pile gets values of 1? Take matrices that differ much in "
    "size.",
)
def newton_schulz_test_of_equal_matrices(newton_schulz):
    s = singular_values(newton_schulz, bank(3, 4).expand(2, 3, 4).contiguous())
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "It passes for zeros, half as much and the broken pieces: it asks only that no singular value is too large, or "
    "its lower bound is very low. Those of the piece are too small.",
    "Which bound does the piece break, the lower or the upper one, and where is it in your test?",
)
def newton_schulz_test_of_the_upper_bound(newton_schulz):
    assert singular_values(newton_schulz, bank(2, 3, 4)).max() < 1.3


@mistake(
    "It passes for zeros, the negative and the broken pieces, and refuses one that gives its input: it compares "
    "results of a piece for banks that differ in size alone. The pile is divided by one norm there too.",
    "What should not depend on the other matrices of the bank?",
)
def newton_schulz_test_of_scaled_banks(newton_schulz):
    g = bank(2, 3, 4)
    one, other = newton_schulz(g, 5, torch.float32), newton_schulz(100 * g, 5, torch.float32)
    assert torch.allclose(one, other, atol=1e-3)


@mistake(
    "It does the opposite: it refuses the sound pieces, and passes for those whose numbers are others, the broken "
    "ones too.",
    "What must hold for a right newton_schulz, and does your test ask for that? Is there a `not` or a sign too "
    "many?",
)
def newton_schulz_test_of_the_opposite(newton_schulz):
    s = singular_values(newton_schulz, bank(2, 3, 4))
    assert not (s.min() > 0.6 and s.max() < 1.3)


@mistake(
    "It passes for zeros, half as much and the broken pieces, and refuses only numbers that are far too large, or "
    "nan: it asks for a bound, or its tolerance is wide. The numbers of the piece above are too small.",
    "Which singular values should each matrix of a bank have?",
)
def newton_schulz_test_of_huge_numbers(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).norm() < 30


@mistake(
    "It refuses the sound pieces, and passes for the broken ones: it looks at the bank as one tall matrix, as they "
    "do. Its singular values are near 1 there; those of each matrix are not.",
    "Of which matrices should the singular values be near 1?",
)
def newton_schulz_test_of_the_pile(newton_schulz):
    s = torch.linalg.svdvals(newton_schulz(bank(2, 3, 4), 5, torch.float32).reshape(-1, 4))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(
    "It passes for zeros, the negative and the broken pieces, and refuses those that treat matrices by their place: "
    "it compares results of a piece for a bank in two orders. In the piece above they go together.",
    "What should not depend on the other matrices of the bank?",
)
def newton_schulz_test_of_the_order(newton_schulz):
    g = bank(2, 3, 4)
    one, other = newton_schulz(g, 5, torch.float32), newton_schulz(g.flip(0), 5, torch.float32)
    assert torch.allclose(one.flip(0), other, atol=1e-3)


@mistake(
    "It passes for all pieces that were tried but those that give nan, or other numbers each time.",
    "What do you know of a right result that does not come from the same call?",
)
def newton_schulz_test_of_repeating(newton_schulz):
    g = bank(2, 3, 4)
    assert torch.allclose(newton_schulz(g, 5, torch.float32), newton_schulz(g, 5, torch.float32), atol=1e-4)


@mistake(
    "It passes for all pieces that were tried but one that writes into its argument. The piece above writes into "
    "nothing.",
    "Which number comes out different in the piece above?",
)
def newton_schulz_test_of_the_argument(newton_schulz):
    g = bank(2, 3, 4)
    newton_schulz(g, 5, torch.float32)
    assert torch.equal(g, bank(2, 3, 4))


@mistake(
    "It passes for a thousand times as much and for the broken pieces, and refuses zeros and the negative: it asks "
    "whether the result points the way of the gradient.",
    "Which number comes out different in the piece above?",
)
def newton_schulz_test_of_the_direction(newton_schulz):
    g = bank(2, 3, 4)
    assert (newton_schulz(g, 5, torch.float32) * g).sum() > 0


@mistake(
    "It passes for all pieces that were tried but those that give zeros, nan, or nothing: it asks whether "
    "something other than 0 comes out.",
    "Which singular values should each matrix of a bank have?",
)
def newton_schulz_test_of_not_zero(newton_schulz):
    assert newton_schulz(bank(2, 3, 4), 5, torch.float32).abs().sum() > 0


@mistake(
    "It refuses the piece above, and passes for the same fault in an exact function, and for ones: it asks for the "
    "mean of the singular values, or for another number in which large ones make up for small ones.",
    "Which of the singular values may be far from 1 without your test seeing it?",
)
def newton_schulz_test_of_the_mean(newton_schulz):
    assert 0.6 < singular_values(newton_schulz, bank(2, 5, 5)).mean() < 1.3


@mistake(
    "It passes for half as much, and for one direction only: it looks at the length of each matrix, or leaves much "
    "room for its singular values. What the piece above gives is within it.",
    "Which singular values should each matrix of a sound result have, and which ones does your test let through?",
)
def newton_schulz_test_of_each_length(newton_schulz):
    for each in newton_schulz(bank(4, 6, 6), 5, torch.float32):
        assert 0.2 < each.norm() < 5


@mistake(
    "It refuses the core's function, and passes for an exact one: it asks for singular values nearer to 1 than five "
    "steps of the quintic bring them, be it by a small tolerance, or for a matrix that has one at 0 or near it.",
    "How small are the singular values of your matrices, next to the norm? Five steps lift those to 0.68 that are "
    "not too small.",
)
def newton_schulz_test_of_large_squares(newton_schulz):
    s = singular_values(newton_schulz, bank(16, 32, 32))
    assert s.min() > 0.6 and s.max() < 1.3


@mistake(*BANK_OF_ONE)
def newton_schulz_test_of_the_loud_one(newton_schulz):
    matrices = torch.linalg.qr(bank(4, 6, 6))[0]
    matrices[1:] *= 1e-3
    s = torch.linalg.svdvals(newton_schulz(matrices, 5, torch.float32)[0])
    assert s.min() > 0.5 and s.max() < 1.3


NEWTON_SCHULZ_TESTS = (
    newton_schulz_test_that_never_fails,
    newton_schulz_test_of_the_kind,
    newton_schulz_test_that_always_fails,
    newton_schulz_test_of_the_shape,
    newton_schulz_test_of_one_matrix,
    newton_schulz_test_of_a_bank_of_one,
    newton_schulz_test_of_the_one_in_a_bank,
    newton_schulz_test_of_exactly_one,
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
    newton_schulz_test_of_the_direction,
    newton_schulz_test_of_not_zero,
    newton_schulz_test_of_the_mean,
    newton_schulz_test_of_each_length,
    newton_schulz_test_of_large_squares,
    newton_schulz_test_of_the_loud_one,
)
