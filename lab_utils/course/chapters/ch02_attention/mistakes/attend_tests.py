"""Tests that cannot tell: the known wrong answers to test_sound_attend, of notebook 02."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_BITS,
    COMPARES_WITH_ITSELF,
    EXPECTS_THE_BROKEN,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
from nanokimi.attention import attend as core_attend
from nanokimi.mask import causal_mask


def draw(n_queries=4, n_keys=4):
    """Queries, keys and values, drawn at random."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((n_queries, 3), (n_keys, 3), (n_keys, 2))
    return [torch.randn(1, 1, *shape, generator=generator) for shape in shapes]


def softmax_of(q, k, scale, masked=True):
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device)
    scores = q @ k.mT * scale
    return (scores.masked_fill(~mask, -torch.inf) if masked else scores).softmax(dim=-1)


def close(one, other):
    return torch.allclose(one, other, atol=1e-5)


@mistake(*LOOKS_AT_NOTHING)
def attend_test_that_never_fails(attend):
    attend(*draw(), 1.0)


@mistake(*LOOKS_AT_NO_NUMBER)
def attend_test_of_the_kind(attend):
    assert attend(*draw(), 1.0) is not None


@mistake(*REFUSES_EVERYTHING)
def attend_test_that_always_fails(attend):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def attend_test_of_the_shape(attend):
    assert attend(*draw(), 1.0).shape == (1, 1, 4, 2)


@mistake(
    "The test looks at the mask: does the past change with the future? In the broken piece it does not.",
    "Which number of the output would be different although the mask is right?",
)
def attend_test_of_the_mask(attend):
    q, k, v = draw()
    before = attend(q, k, v, 0.5)
    v[..., -1, :] += 10
    assert torch.allclose(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "The test asks whether a later key changes an earlier output. It does so in the piece above only by way of the "
    "largest score of a row; the same fault without that lets nothing through from the future.",
    "Which number of the output is wrong although no future key has a part in it?",
)
def attend_test_of_the_future(attend):
    q, k, v = draw()
    before = attend(q, k, v, 0.5)
    k[..., -1, :] = 10 * q[..., -1, :]
    v[..., -1, :] += 10
    assert close(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "The test looks at the sum of all outputs alone. The broken piece moves weight from one query to another, and "
    "the sum stays what it was.",
    "Look at the outputs one by one: what should each of them be?",
)
def attend_test_of_the_sum(attend):
    q, k, v = draw()
    out = attend(q, k, torch.ones_like(v), 0.5)
    assert close(out.sum(), torch.tensor(float(out.numel())))


@mistake(
    "A softmax over the wrong axis gives the same weights here: as with a single token, or where every query "
    "matches one key, each another one.",
    "Take several queries and keys, and a key that more than one query fits.",
)
def attend_test_with_one_token(attend):
    q, k, v = draw(1, 1)
    assert close(attend(q, k, v, 1.0), v)


@mistake(*ASKS_FOR_BITS)
def attend_test_for_equal_bits(attend):
    q, k, v = draw(5, 5)
    assert torch.equal(attend(q, k, v, 0.3).double(), softmax_of(q.double(), k.double(), 0.3) @ v.double())


@mistake(*ASKS_FOR_BITS)
def attend_test_for_the_bits_of_the_core(attend):
    q = torch.randn(2, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(attend(q, q, q, 0.5), core_attend(q, q, q, 0.5))


@mistake(*ASKS_FOR_BITS)
def attend_test_for_the_bits_of_a_formula(attend):
    q = torch.randn(2, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(attend(q, q, q, 0.5), softmax_of(q, q, 0.5) @ q)


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def attend_test_of_finite_numbers(attend):
    assert attend(*draw(), 1.0).isfinite().all()


@mistake(
    "The test forgets the mask: it expects that every query sees every key.",
    "Which values may the first of four tokens read?",
)
def attend_test_without_the_mask(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.5), softmax_of(q, k, 0.5, masked=False) @ v)


@mistake(
    "The test expects a scale of 1/sqrt(d), whatever `scale` it passes.",
    "Which scale does the piece get from you, and which is in your formula?",
)
def attend_test_with_the_usual_scale(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.3), softmax_of(q, k, 3**-0.5) @ v)


@mistake(
    "The test expects scores without the scale that it passes.",
    "Which scale does the piece get from you, and which is in your formula?",
)
def attend_test_without_the_scale(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.3), softmax_of(q, k, 1.0) @ v)


@mistake(*LEAVES_MUCH_ROOM)
def attend_test_with_much_room(attend):
    q, k, v = draw()
    assert torch.allclose(attend(q, k, v, 0.5), softmax_of(q, k, 0.5) @ v, atol=20)


@mistake(*EXPECTS_THE_BROKEN)
def attend_test_of_the_broken_numbers(attend):
    q, k, v = draw()
    scores = (q @ k.mT * 0.5).masked_fill(~causal_mask(4, 4, q.device), -torch.inf)
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    assert close(attend(q, k, v, 0.5), weights / weights.sum(dim=-2, keepdim=True) @ v)


@mistake(*REFUSES_THE_RIGHT)
def attend_test_upside_down(attend):
    q, k, v = draw()
    assert not close(attend(q, k, v, 0.5), softmax_of(q, k, 0.5) @ v)


@mistake(*COMPARES_WITH_ITSELF)
def attend_test_of_repetition(attend):
    assert torch.equal(attend(*draw(), 1.0), attend(*draw(), 1.0))


@mistake(
    "The test asks for the right shape and for finite numbers. The piece above gives both.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def attend_test_of_the_shape_and_finite_numbers(attend):
    out = attend(*draw(), 1.0)
    assert out.shape == (1, 1, 4, 2) and out.isfinite().all()


@mistake(
    "The test asks for the right shape and for finite numbers, with fewer queries than keys. The piece above gives "
    "both.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def attend_test_of_the_shape_and_finite_numbers_after_a_cache(attend):
    out = attend(*draw(3, 4), 1.0)
    assert out.shape == (1, 1, 3, 2) and out.isfinite().all()


@mistake(
    "The test lets everything through that has the right shape, whatever the numbers are.",
    "Is there an `assert` that looks at a number? Which number comes out different in the piece above?",
)
def attend_test_of_the_shape_after_a_cache(attend):
    assert attend(*draw(3, 4), 1.0).shape == (1, 1, 3, 2)


@mistake(*EXPECTS_THE_BROKEN)
def attend_test_of_sums_over_queries(attend):
    q, k, _ = draw()
    weights = attend(q, k, torch.eye(4)[None, None], 0.3)
    assert close(weights.sum(dim=-2), torch.ones(1, 1, 4))


@mistake(*EXPECTS_THE_BROKEN)
def attend_test_of_all_broken_numbers(attend):
    q, k, v = draw()
    scores = (q @ k.mT * 0.5).masked_fill(~causal_mask(4, 4, q.device), -torch.inf)
    out = attend(q, k, v, 0.5)
    assert close(out, scores.softmax(dim=-2) @ v)


@mistake(
    "The test compares two calls of a piece whose scores are the same: q is larger, and the scale smaller. Those of "
    "the broken piece are the same as well.",
    "Which number should come out? Work it out by hand, or by the formula.",
)
def attend_test_of_the_scale(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.6), attend(2 * q, k, v, 0.3))


@mistake(
    "The test compares two calls of a piece, the second with twice the values. The output of the broken piece doubles "
    "as well.",
    "Which change of the values shows that the weights of a query sum to 1?",
)
def attend_test_of_doubled_values(attend):
    q, k, v = draw()
    assert close(attend(q, k, 2 * v, 0.5), 2 * attend(q, k, v, 0.5))


@mistake(*EXPECTS_THE_BROKEN)
def attend_test_of_sums_over_queries_of_equal_scores(attend):
    same = torch.zeros(1, 1, 3, 2)
    weights = attend(same, same, torch.eye(3)[None, None], 1.0)
    assert close(weights.sum(dim=-2), torch.ones(1, 1, 3))


ATTEND_TESTS = (
    attend_test_that_never_fails,
    attend_test_of_the_kind,
    attend_test_that_always_fails,
    attend_test_of_the_shape,
    attend_test_of_the_mask,
    attend_test_of_the_future,
    attend_test_of_the_sum,
    attend_test_with_one_token,
    attend_test_for_equal_bits,
    attend_test_for_the_bits_of_the_core,
    attend_test_for_the_bits_of_a_formula,
    attend_test_of_finite_numbers,
    attend_test_without_the_mask,
    attend_test_with_the_usual_scale,
    attend_test_without_the_scale,
    attend_test_with_much_room,
    attend_test_of_the_broken_numbers,
    attend_test_upside_down,
    attend_test_of_repetition,
    attend_test_of_the_shape_and_finite_numbers,
    attend_test_of_the_shape_and_finite_numbers_after_a_cache,
    attend_test_of_the_shape_after_a_cache,
    attend_test_of_sums_over_queries,
    attend_test_of_all_broken_numbers,
    attend_test_of_the_scale,
    attend_test_of_doubled_values,
    attend_test_of_sums_over_queries_of_equal_scores,
)
