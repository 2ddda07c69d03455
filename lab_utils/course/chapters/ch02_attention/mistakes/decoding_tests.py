"""Tests that cannot tell: the known wrong answers to test_sound_decoding, of notebook 02."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import (
    ASKS_FOR_SHAPE_AND_FINITE,
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
    "It passes for a piece without memory, and for one that is right for the first token alone: it asks nothing of "
    "a second token. Position 0 is right in the broken piece too.",
    "What should come out for the second token, and at which position does it stand?",
)
def decoding_test_of_one_step(decode_step):
    q, k, v = draw(1)
    assert close(decode(decode_step, q, k, v), v)


@mistake(
    "It refuses zeros and a piece without memory, and passes for the negative: it asks whether a later step "
    "remembers the first, and not what comes out. The broken piece does remember.",
    "What should the second step give? Compare with all tokens at once, at their positions.",
)
def decoding_test_of_memory(decode_step):
    q, k, v = draw(2)
    second = decode(decode_step, q, k, v)[..., 1:, :]
    assert not close(second, v[..., 1:, :])
    assert second.abs().sum() > 0


@mistake(
    "It passes for all pieces that were tried but one that gives zeros, and one that gives nothing: it asks "
    "whether steps differ, or whether something other than 0 comes out.",
    "What should the second step give? Compare with all tokens at once, at their positions.",
)
def decoding_test_of_different_steps(decode_step):
    out = decode(decode_step, *draw())
    assert not close(out[..., 0, :], out[..., 1, :])


@mistake(
    "It refuses a sound piece that keeps one pair of tensors in the cache, and passes for those with an entry for "
    "each step, the one above among them: it looks at the entries of the cache.",
    "Which number of the output would be different?",
)
def decoding_test_of_the_length(decode_step):
    cache = []
    decode(decode_step, *draw(), cache)
    assert len(cache) == 3


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def decoding_test_of_finite_numbers(decode_step):
    assert decode(decode_step, *draw()).isfinite().all()


@mistake(
    "It passes for a piece without memory, and for wrong angles and a wrong scale: with its numbers the weights "
    "make no difference, as where all values are equal, or nearly so for the tolerance.",
    "For which values does it matter how much weight each of them gets?",
)
def decoding_test_with_equal_values(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, q, k, torch.ones_like(v)), torch.ones_like(v))


@mistake(
    "It passes for a piece without memory, and for wrong angles and a wrong scale, whatever the shape is: with its "
    "numbers the weights make no difference, as where all values are equal.",
    "For which values does it matter how much weight each of them gets?",
)
def decoding_test_of_ones(decode_step):
    q, k, v = draw()
    out = decode(decode_step, q, k, torch.ones_like(v))
    assert close(out, torch.ones_like(out))


@mistake(
    "It passes for wrong angles and for a wrong scale: with its numbers they change no weight by more than its "
    "tolerance, be it that all scores are equal, that they are small, or that the tolerance is wide.",
    "For which queries, keys and angles does the position change a score, and by how much the result?",
)
def decoding_test_with_equal_scores(decode_step):
    q, k, v = draw()
    assert close(decode(decode_step, 0 * q, k, v), all_at_once(0 * q, k, v))


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
    "It refuses the sound pieces, and passes for one that keeps all tokens by itself. In it no piece finds its "
    "earlier tokens, and only those, in its cache: it is empty in every step, or filled before the first one.",
    "How many caches does one piece need for all its steps, and what is in it before the first one?",
)
def decoding_test_with_a_fresh_cache(decode_step):
    q, k, v = draw()
    parts = [[x[..., t : t + 1, :] for x in (q, k, v)] for t in range(3)]
    steps = [decode_step(*each, [], core_attend, core_rope, turn) for each in parts]
    assert close(torch.cat(steps, dim=-2), all_at_once(q, k, v))


@mistake(
    "It passes for a piece that turns by twice the angle, and for those that turn queries or keys alone: the angles "
    "make no difference to it, be it that `turn` turns nothing, all positions alike, or too little for the "
    "tolerance.",
    "By how much does your `turn` turn positions 0 and 1, and by how much does that change the result?",
)
def decoding_test_of_a_still_turn(decode_step):
    q, k, v = draw()
    out = decode(decode_step, q, k, v, turn=lambda positions: turn(0 * positions))
    assert close(out, core_attend(q, k, v, 0.5))


@mistake(
    "It refuses sound pieces that keep their keys as they came, or all in one tensor: it looks for turned keys in "
    "the cache.",
    "Look at the output: with what should it be compared?",
)
def decoding_test_of_cached_keys(decode_step):
    (q, k, v), cache = draw(), []
    decode(decode_step, q, k, v, cache)
    assert all(
        close(key, core_rope(k[..., [t], :], turn(torch.tensor([t])))) for t, (key, _) in enumerate(cache)
    )


@mistake(
    "It refuses a sound piece that counts positions from the new token on: it asks by which angle keys or query are "
    "turned, and only differences count.",
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
    "It passes for all pieces that were tried but those whose later steps give zeros, or nothing: it asks whether "
    "each step differs from the others, or gives something other than 0.",
    "What should each step give? Compare with all tokens at once, at their positions.",
)
def decoding_test_of_steps_that_differ(decode_step):
    out = decode(decode_step, *draw())
    assert not close(out[..., 0, :], out[..., 1, :]) and not close(out[..., 1, :], out[..., 2, :])


@mistake(
    "It passes for a piece without memory: no step needs what an earlier one has kept, as where all tokens come in "
    "one step. There the positions begin at 0 in the broken piece too.",
    "What must a step take from the cache in your test? Give one token after the other: which position has the "
    "second one?",
)
def decoding_test_of_one_large_step(decode_step):
    q, k, v = draw()
    assert close(decode_step(q, k, v, [], core_attend, core_rope, turn), all_at_once(q, k, v))


@mistake(
    ASKS_FOR_SHAPE_AND_FINITE,
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
    decoding_test_of_the_length,
    decoding_test_of_finite_numbers,
    decoding_test_with_equal_values,
    decoding_test_of_ones,
    decoding_test_with_equal_scores,
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
