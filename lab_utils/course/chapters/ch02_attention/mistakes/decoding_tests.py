"""Tests that cannot tell: the known wrong answers to test_sound_decoding, of notebook 02."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    COMPARES_WITH_ITSELF,
    LEAVES_MUCH_ROOM,
    LOOKS_AT_THE_SHAPE,
    REFUSES_EVERYTHING,
    REFUSES_THE_RIGHT,
)
from nanokimi.attention import attend as core_attend
from nanokimi.rope import apply_rope as core_rope


def turn(positions):
    """Rotations by 1 radian per token."""
    return torch.polar(torch.ones(len(positions), 2), positions[:, None] * torch.ones(2))


def draw(n=3):
    """Queries, keys and values of some tokens."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 1, n, 4, generator=generator) for _ in range(3)]


def decode(step, q, k, v, cache=None, turn=turn):
    """One token after the other, with one cache."""
    cache = [] if cache is None else cache
    parts = [(q[..., t : t + 1, :], k[..., t : t + 1, :], v[..., t : t + 1, :]) for t in range(q.shape[-2])]
    return torch.cat([step(*each, cache, core_attend, core_rope, turn) for each in parts], dim=-2)


def all_at_once(q, k, v, scale=0.5, turn=turn):
    rotation = turn(torch.arange(q.shape[-2]))
    return core_attend(core_rope(q, rotation), core_rope(k, rotation), v, scale)


def close(one, other):
    return torch.allclose(one, other, atol=1e-5)


@mistake(*LOOKS_AT_NOTHING)
def decoding_test_that_never_fails(decode_step):
    q, k, v = draw(1)
    decode_step(q, k, v, [], core_attend, core_rope, turn)


@mistake(*LOOKS_AT_NO_NUMBER)
def decoding_test_of_the_kind(decode_step):
    assert decode(decode_step, *draw()) is not None


@mistake(*REFUSES_EVERYTHING)
def decoding_test_that_always_fails(decode_step):
    raise AssertionError


@mistake(*LOOKS_AT_THE_SHAPE)
def decoding_test_of_the_shape(decode_step):
    assert decode(decode_step, *draw()).shape == (1, 1, 3, 4)


@mistake(
    "The test takes a single step. Position 0 is right in the broken piece too.",
    "Which position does the second token have?",
)
def decoding_test_of_one_step(decode_step):
    q, k, v = draw(1)
    assert close(decode(decode_step, q, k, v), v)


@mistake(
    "The test asks whether the second step remembers the first. It does, but its position is wrong.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_memory(decode_step):
    q, k, v = draw(2)
    second = decode(decode_step, q, k, v)[..., 1:, :]
    assert not close(second, v[..., 1:, :])
    assert second.abs().sum() > 0


@mistake(
    "The test asks only whether two steps give different numbers. In the broken piece they do.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_different_steps(decode_step):
    out = decode(decode_step, *draw())
    assert not close(out[..., 0, :], out[..., 1, :])


@mistake(
    "The test expects attention without positions. The broken piece computes just that: it turns all alike.",
    "Which query and which key are turned by how much, when all tokens are attended to at once?",
)
def decoding_test_without_positions(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, v), core_attend(q, k, v, 0.5))


@mistake(
    "The test looks at the number of entries in the cache. It is right in the piece above, and a sound step may keep "
    "one pair of tensors that grow.",
    "Which number of the output would be different?",
)
def decoding_test_of_the_length(decode_step):
    cache = []
    decode(decode_step, *draw(), cache)
    assert len(cache) == 3


@mistake(
    "The test asks with which positions `turn` is called. A sound step may turn all keys anew each time.",
    "Look at the output: with what should it be compared?",
)
def decoding_test_of_the_positions(decode_step):
    seen = []

    def spy(positions):
        seen.append(positions.tolist())
        return turn(positions)

    decode(decode_step, *draw(), turn=spy)
    assert seen == [[0], [1], [2]]


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def decoding_test_of_finite_numbers(decode_step):
    assert decode(decode_step, *draw()).isfinite().all()


@mistake(
    "In the test all values are equal, so their mean is the same with every position.",
    "For which values does it matter how much weight each of them gets?",
)
def decoding_test_with_equal_values(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, torch.ones_like(v)), torch.ones_like(v))


@mistake(
    "In the test all values are equal, so the weights do not matter, and so it is with every shape.",
    "For which values does it matter how much weight each of them gets?",
)
def decoding_test_of_ones(decode_step):
    q, k, v = draw()
    out = decode(decode_step, q, k, torch.ones_like(v))
    assert close(out, torch.ones_like(out))


@mistake(
    "In the test all scores are equal, because the queries or the keys are 0 or `turn` turns nothing. There no "
    "position matters.",
    "For which queries, keys and angles does the position change a score?",
)
def decoding_test_with_equal_scores(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, 0 * q, k, v), all_at_once(0 * q, k, v))


@mistake(
    "The test expects another scale than d**-0.5.",
    "The docstring says which scale a step uses. Which one is in your formula?",
)
def decoding_test_with_a_scale_of_one(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, v), all_at_once(q, k, v, scale=1.0))


@mistake(*LEAVES_MUCH_ROOM)
def decoding_test_with_much_room(decode_step):
    q, k, v = draw()
    assert torch.allclose(decode(decode_step, q, k, v), all_at_once(q, k, v), atol=20)


@mistake(*REFUSES_THE_RIGHT)
def decoding_test_upside_down(decode_step):
    q, k, v = draw()
    assert not close(decode(decode_step, q, k, v), all_at_once(q, k, v))


@mistake(*COMPARES_WITH_ITSELF)
def decoding_test_of_repetition(decode_step):
    assert torch.equal(decode(decode_step, *draw()), decode(decode_step, *draw()))


@mistake(
    "In the test no piece finds its earlier tokens in its cache: either every step gets an empty one, or the cache "
    "still holds the tokens of another piece, as a default argument does.",
    "How many caches does one piece need for all its steps? And who fills it before the first one?",
)
def decoding_test_with_a_fresh_cache(decode_step):
    q, k, v = draw()
    parts = [[x[..., t : t + 1, :] for x in (q, k, v)] for t in range(3)]
    steps = [decode_step(*each, [], core_attend, core_rope, turn) for each in parts]
    assert close(torch.cat(steps, dim=-2), all_at_once(q, k, v))


@mistake(
    "The angles of the test make no difference: `turn` turns nothing, or all positions alike, or too little for the "
    "tolerance.",
    "By how much does your `turn` turn positions 0 and 1?",
)
def decoding_test_of_a_still_turn(decode_step):
    q, k, v = draw()
    out = decode(decode_step, q, k, v, turn=lambda positions: turn(0 * positions))
    assert close(out, core_attend(q, k, v, 0.5))


@mistake(
    "The test looks for turned keys in the cache. A sound step may keep them as they came, or all in one tensor.",
    "Look at the output: with what should it be compared?",
)
def decoding_test_of_cached_keys(decode_step):
    (q, k, v), cache = draw(), []
    decode(decode_step, q, k, v, cache)
    assert all(
        close(key, core_rope(k[..., [t], :], turn(torch.tensor([t])))) for t, (key, _) in enumerate(cache)
    )


@mistake(
    "The test asks by which angle the keys or the query are turned. Only differences count: a sound step may count "
    "positions from the new token on.",
    "Look at the output: with what should it be compared?",
)
def decoding_test_of_the_keys(decode_step):
    (q, k, v), cache, seen = draw(), [], []

    def spy(q, k, v, scale):
        seen.append(k)
        return core_attend(q, k, v, scale)

    for t in range(3):
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, spy, core_rope, turn)
    assert close(seen[-1], core_rope(k, turn(torch.arange(3))))


@mistake(
    "The test asks only whether every step gives other numbers than the one before. In the broken piece they do.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_steps_that_differ(decode_step):
    out = decode(decode_step, *draw())
    assert not close(out[..., 0, :], out[..., 1, :]) and not close(out[..., 1, :], out[..., 2, :])


@mistake(
    "The test gives all tokens in one step, with an empty cache. Their positions begin at 0 in the broken piece too.",
    "Give one token after the other, with one cache. Which position does the second token have?",
)
def decoding_test_of_one_large_step(decode_step):
    q, k, v = draw()
    assert close(decode_step(q, k, v, [], core_attend, core_rope, turn), all_at_once(q, k, v))


@mistake(
    "The test asks for the right shape and for finite numbers. The piece above gives both.",
    "Which number comes out different in the piece above? Compare with all tokens at once.",
)
def decoding_test_of_the_shape_and_finite_numbers(decode_step):
    out = decode(decode_step, *draw())
    assert out.shape == (1, 1, 3, 4) and out.isfinite().all()


WEAK_DECODING_TESTS = (
    decoding_test_that_never_fails,
    decoding_test_of_the_kind,
    decoding_test_that_always_fails,
    decoding_test_of_the_shape,
    decoding_test_of_one_step,
    decoding_test_of_memory,
    decoding_test_of_different_steps,
    decoding_test_without_positions,
    decoding_test_of_the_length,
    decoding_test_of_the_positions,
    decoding_test_of_finite_numbers,
    decoding_test_with_equal_values,
    decoding_test_of_ones,
    decoding_test_with_equal_scores,
    decoding_test_with_a_scale_of_one,
    decoding_test_with_much_room,
    decoding_test_upside_down,
    decoding_test_of_repetition,
    decoding_test_with_a_fresh_cache,
    decoding_test_of_a_still_turn,
    decoding_test_of_cached_keys,
    decoding_test_of_the_keys,
    decoding_test_of_steps_that_differ,
    decoding_test_of_one_large_step,
    decoding_test_of_the_shape_and_finite_numbers,
)
