"""Tests that cannot tell: the known wrong answers to test_sound_attend, of notebook 02."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_SHAPE_AND_FINITE,
    COMPARES_WITH_ITSELF,
    EXPECTS_THE_BROKEN,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
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
    "It refuses a piece that sees the future, and passes for zeros, the negative and the broken pieces: it asks "
    "whether earlier outputs stay when something later changes. In the broken pieces they do.",
    "Which number of the piece above is wrong, although no later value has a part in it?",
)
def attend_test_of_the_mask(attend):
    q, k, v = draw()
    before = attend(q, k, v, 0.5)
    v[..., -1, :] += 10
    assert torch.allclose(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "It refuses the piece above, and passes for the same fault in other words: it asks whether a later key changes "
    "an earlier output. There it does so only by way of the largest score of a row.",
    "Which number of the output is wrong although no future key has a part in it?",
)
def attend_test_of_the_future(attend):
    q, k, v = draw()
    before = attend(q, k, v, 0.5)
    k[..., -1, :] = 10 * q[..., -1, :]
    v[..., -1, :] += 10
    assert close(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "It passes for pieces that give ones or the values back, and for the broken ones: with its numbers all these "
    "have the sum, or the mean, that it asks for. Weight moves there from one query to another.",
    "What should each single output be, and for which values does a wrong weight change it?",
)
def attend_test_of_the_sum(attend):
    q, k, v = draw()
    out = attend(q, k, torch.ones_like(v), 0.5)
    assert close(out.sum(), torch.tensor(float(out.numel())))


@mistake(
    "With its numbers a softmax over the wrong axis gives the right result too, and so do the values themselves: as "
    "with a single token, or where every query matches one key, each another one.",
    "Which weights should each query have with your numbers, and what do the weights of each key sum to? Take a key "
    "that more than one query fits.",
)
def attend_test_with_one_token(attend):
    q, k, v = draw(1, 1)
    assert close(attend(q, k, v, 1.0), v)


@mistake(
    "It refuses the sound pieces in float32, and passes for one that computes in float64: it asks for float64, or "
    "leaves less room than float32 rounding takes, about 1e-7 of a number.",
    "In which dtype does a piece answer, in which do you expect it, and how far apart may the two be?",
)
def attend_test_for_equal_bits(attend):
    q, k, v = draw(5, 5)
    assert torch.equal(attend(q, k, v, 0.3).double(), softmax_of(q.double(), k.double(), 0.3) @ v.double())


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def attend_test_of_finite_numbers(attend):
    assert attend(*draw(), 1.0).isfinite().all()


@mistake(
    "It refuses the sound pieces, and passes for one that sees the future: it expects that every query sees every "
    "key.",
    "Which values may the first of four tokens read?",
)
def attend_test_without_the_mask(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.5), softmax_of(q, k, 0.5, masked=False) @ v)


@mistake(
    "It refuses the sound pieces, and passes for one that scales by 1/sqrt(d), whatever `scale` it gets.",
    "Which scale does the piece get from you, and which one do you expect?",
)
def attend_test_with_the_usual_scale(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.3), softmax_of(q, k, 3**-0.5) @ v)


@mistake(
    "It refuses the sound pieces, and passes for one that does not scale.",
    "Which scale does the piece get from you, and which one do you expect?",
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
    ASKS_FOR_SHAPE_AND_FINITE,
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def attend_test_of_the_shape_and_finite_numbers(attend):
    out = attend(*draw(), 1.0)
    assert out.shape == (1, 1, 4, 2) and out.isfinite().all()


@mistake(
    "It passes for all pieces that were tried but those that have another shape, with fewer queries than keys, or "
    "no finite numbers. The piece above has the right shape and finite numbers.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def attend_test_of_the_shape_and_finite_numbers_after_a_cache(attend):
    out = attend(*draw(3, 4), 1.0)
    assert out.shape == (1, 1, 3, 2) and out.isfinite().all()


@mistake(
    "The test lets everything through that has the right shape, whatever the numbers are.",
    "Which number comes out different in the piece above, and which `assert` looks at it?",
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
    "It refuses pieces that use another scale than they get, and passes for zeros, the negative and the broken "
    "ones: it compares results of a piece whose scores are the same, or should be.",
    "Which number should come out? Work it out by hand, or by the formula.",
)
def attend_test_of_the_scale(attend):
    q, k, v = draw()
    assert close(attend(q, k, v, 0.6), attend(2 * q, k, v, 0.3))


@mistake(
    "It passes for zeros, the negative and the broken pieces, and refuses those whose output does not grow with the "
    "values as a sum does: it compares results of a piece for several values.",
    "Which number should come out? Which change of the values shows that the weights of a query sum to 1?",
)
def attend_test_of_doubled_values(attend):
    q, k, v = draw()
    assert close(attend(q, k, 2 * v, 0.5), 2 * attend(q, k, v, 0.5))


@mistake(*EXPECTS_THE_BROKEN)
def attend_test_of_sums_over_queries_of_equal_scores(attend):
    same = torch.zeros(1, 1, 3, 2)
    weights = attend(same, same, torch.eye(3)[None, None], 1.0)
    assert close(weights.sum(dim=-2), torch.ones(1, 1, 3))


WEAK_ATTEND_TESTS = (
    attend_test_that_never_fails,
    attend_test_of_the_kind,
    attend_test_that_always_fails,
    attend_test_of_the_shape,
    attend_test_of_the_mask,
    attend_test_of_the_future,
    attend_test_of_the_sum,
    attend_test_with_one_token,
    attend_test_for_equal_bits,
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
