"""Wrong answers to the exercises of notebook 02: RoPE, and decoding with positions."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.attention import attend as core_attend
from nanokimi.rope import apply_rope as core_rope

# ---------------------------------------------------------------- rope_frequencies


def frequencies(rope_dim, cfg, exponent=None, pairs=None, base=None):
    pair = torch.arange(rope_dim // 2 if pairs is None else pairs, dtype=torch.float64)
    base = cfg.base if base is None else base
    return (base ** (-2 * pair / rope_dim if exponent is None else exponent(pair))).float()


@mistake("The exponent lacks its factor 2.", "Pair i has the channels 2i and 2i+1: theta_i = base^(-2i/r).")
def theta_without_two(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -i / rope_dim)


@mistake(
    "The factor 2 is in the exponent twice: perhaps `i` counts channels (0, 2, 4 ...) and is doubled again.",
    "Does your i count pairs or channels? theta_i = base^(-2i/r) counts pairs.",
)
def theta_with_two_twice(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -4 * i / rope_dim)


@mistake(
    "The sign of the exponent is missing: the pairs turn faster and faster.",
    "How far does pair 0 turn, and the last?",
)
def theta_growing(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: 2 * i / rope_dim)


@mistake(
    "There is a frequency for every channel; each pair of channels has one.",
    "How many pairs do r channels make?",
)
def theta_for_every_channel(rope_dim, cfg):
    return frequencies(rope_dim, cfg, pairs=rope_dim)


@mistake(
    "It is e to the power, not the base: `cfg.base` is not used.",
    "Which field of the configuration do you read?",
)
def theta_of_e(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * i / rope_dim / torch.log(torch.tensor(cfg.base)))


@mistake(
    "The base is written down as 10,000: `cfg.base` is not used.",
    "Which field of the configuration do you read?",
)
def theta_of_ten_thousand(rope_dim, cfg):
    return frequencies(rope_dim, cfg, base=10_000.0)


@mistake(
    "There is a factor 2π too many: the unit is radians a token, not turns.",
    "How far does the first pair turn from one token to the next?",
)
def theta_in_turns(rope_dim, cfg):
    return 2 * torch.pi * frequencies(rope_dim, cfg)


@mistake(
    "The last pair is at 1/base exactly: you divide by one pair fewer than there are.",
    "theta_i = base^(-2i/r): what is r, and which is the last i?",
)
def theta_down_to_the_base(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * i / max(rope_dim - 2, 1))


@mistake("Counting begins with pair 1, so the fastest pair is missing.", "What is theta of the first pair?")
def theta_from_one(rope_dim, cfg):
    return frequencies(rope_dim, cfg, lambda i: -2 * (i + 1) / rope_dim)


@mistake(
    "The frequencies fall in equal steps; they should fall by equal factors.",
    "Divide each by the one before it.",
)
def theta_linear(rope_dim, cfg):
    pair = torch.arange(rope_dim // 2, dtype=torch.float64)
    return (1 - 2 * pair / rope_dim * (1 - 1 / cfg.base)).float()


ROPE_FREQUENCIES = (
    theta_without_two,
    theta_with_two_twice,
    theta_growing,
    theta_for_every_channel,
    theta_of_e,
    theta_of_ten_thousand,
    theta_in_turns,
    theta_down_to_the_base,
    theta_from_one,
    theta_linear,
)

# ---------------------------------------------------------------- apply_rope


@mistake(
    "The pairs are (i, i + r/2), the layout of Llama. Here neighbours are a pair: (2i, 2i+1).",
    "Which two channels does rotation 0 turn?",
)
def rope_on_halves(x, rotation):
    a, b = x.chunk(2, dim=-1)
    turned = torch.complex(a, b) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "It turns the other way: by -t·theta.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_backwards(x, rotation):
    return core_rope(x, rotation.conj())


@mistake(
    "The second part of the rotation has the wrong sign: lengths change.",
    "(a + ib)(c + is) = (ac - bs) + i(as + bc). Check both signs.",
)
def rope_that_reflects(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real, rotation.imag
    return torch.stack([a * c + b * s, a * s + b * c], dim=-1).flatten(-2)


@mistake(
    "The turned pairs are put one half behind the other; they belong back in their places.",
    "In which channels do the two numbers of pair 0 end up?",
)
def rope_left_in_halves(x, rotation):
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "Only the cosine part is there: the two numbers of a pair do not mix.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_without_sine(x, rotation):
    return x * rotation.real.repeat_interleave(2, dim=-1)


@mistake(
    "Every token is turned as the first one is.",
    "Which row of `rotation` belongs to which token?",
)
def rope_of_position_zero(x, rotation):
    return core_rope(x, rotation[:1].expand_as(rotation))


@mistake(
    "Every token is turned by its neighbour's angle: the positions are off by one.",
    "Row t of `rotation` belongs to token t. Which row does token 0 get from you?",
)
def rope_off_by_one(x, rotation):
    return core_rope(x, rotation.roll(-1, dims=0))


@mistake(
    "The result stays in float32. It must come back in the dtype of x.",
    "Which dtype does x have, and which your result?",
)
def rope_that_stays_float32(x, rotation):
    return core_rope(x.float(), rotation)


APPLY_ROPE = (
    rope_on_halves,
    rope_backwards,
    rope_that_reflects,
    rope_left_in_halves,
    rope_without_sine,
    rope_of_position_zero,
    rope_off_by_one,
    rope_that_stays_float32,
)

# ---------------------------------------------------------------- test_sound_decoding


def parts_of_decoding():
    """Three tokens, and rotations for them."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 3, 4, generator=generator) for _ in range(3))
    return (
        q,
        k,
        v,
        lambda positions: torch.polar(torch.ones(len(positions), 2), positions[:, None] * torch.ones(2)),
    )


def decoded(decode_step, n_steps):
    q, k, v, turn = parts_of_decoding()
    cache = []
    return [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, core_rope, turn)
        for t in range(n_steps)
    ]


@mistake(
    "The test lets every piece pass: it compares nothing, or something that is right in all of them.",
    "Is there an `assert` that can fail? Run your test on the piece above: does it fail?",
)
def decoding_test_that_never_fails(decode_step):
    decoded(decode_step, 3)


@mistake("The test fails for every piece, the sound ones too.", "Run it on a step that you trust first.")
def decoding_test_that_always_fails(decode_step):
    raise AssertionError


@mistake("The test looks at the shape only.", "With which number should the output be compared?")
def decoding_test_of_the_shape(decode_step):
    assert decoded(decode_step, 2)[1].shape == (1, 1, 1, 4)


@mistake(
    "The test takes a single step. Position 0 is right in the broken piece too.",
    "Which position does the second token have?",
)
def decoding_test_of_one_step(decode_step):
    _, _, v, _ = parts_of_decoding()
    assert torch.allclose(decoded(decode_step, 1)[0], v[..., :1, :], atol=1e-5)


@mistake(
    "The test asks whether the second step remembers the first. It does; it is mistaken about where it stands.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_memory(decode_step):
    _, _, v, _ = parts_of_decoding()
    second = decoded(decode_step, 2)[1]
    assert not torch.allclose(second, v[..., 1:2, :], atol=1e-5)
    assert second.abs().sum() > 0


@mistake(
    "The test expects attention without positions. The broken piece computes just that: it turns all by 0.",
    "Which query and which key are turned by how much, when all tokens are attended to at once?",
)
def decoding_test_without_positions(decode_step):
    q, k, v, _ = parts_of_decoding()
    whole = core_attend(q, k, v, 0.5)
    assert torch.allclose(torch.cat(decoded(decode_step, 3), dim=-2), whole, atol=1e-5)


@mistake(
    "The test looks at the length of the cache. It grows as it should.",
    "Which number of the output would be different?",
)
def decoding_test_of_the_length(decode_step):
    q, k, v, turn = parts_of_decoding()
    cache = []
    for t in range(2):
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, core_rope, turn)
    assert len(cache) == 2


DECODING_TESTS = (
    decoding_test_that_never_fails,
    decoding_test_that_always_fails,
    decoding_test_of_the_shape,
    decoding_test_of_one_step,
    decoding_test_of_memory,
    decoding_test_without_positions,
    decoding_test_of_the_length,
)
