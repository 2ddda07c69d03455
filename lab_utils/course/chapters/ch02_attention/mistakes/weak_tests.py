"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 02."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.attention import attend as core_attend
from nanokimi.mask import causal_mask
from nanokimi.rope import apply_rope as core_rope

# ---------------------------------------------------------------- test_sound_attend


@mistake(*LOOKS_AT_NOTHING)
def attend_test_that_never_fails(attend):
    attend(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 1.0)


@mistake("The test fails for every function, the sound one too.", "Run it on the core's attend first.")
def attend_test_that_always_fails(attend):
    raise AssertionError


@mistake(
    "The test looks at the shape only. The broken piece gives the right shape.",
    "Which *number* would be different?",
)
def attend_test_of_the_shape(attend):
    assert attend(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 4), 1.0).shape == (
        1,
        1,
        3,
        4,
    )


@mistake(
    "The test looks at the mask: does the past change with the future? In the broken piece it does not.",
    "Which number of the output would be different although the mask is right?",
)
def attend_test_of_the_mask(attend):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 4, 3, generator=generator) for _ in range(3))
    before = attend(q, k, v, 0.5)
    v[..., -1, :] += 10
    assert torch.allclose(attend(q, k, v, 0.5)[..., :-1, :], before[..., :-1, :])


@mistake(
    "The test uses a single token. There the two axes of the softmax have one entry each, and cannot be told apart.",
    "Take at least two queries and two keys.",
)
def attend_test_with_one_token(attend):
    one = torch.ones(1, 1, 1, 2)
    assert torch.allclose(attend(one, one, one, 1.0), one)


@mistake(
    "The test asks for bit-equal results and rejects a sound function that adds in another order.",
    "Compare with a tolerance.",
)
def attend_test_for_equal_bits(attend):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 5, 3, generator=generator) for _ in range(3))
    mask = causal_mask(5, 5, q.device)
    scores = (q.double() @ k.double().mT * 0.3).masked_fill(~mask, -torch.inf)
    assert torch.equal(attend(q, k, v, 0.3).double(), scores.softmax(-1) @ v.double())


@mistake(*LOOKS_AT_NO_NUMBER)
def attend_test_of_the_kind(attend):
    assert attend(*[torch.ones(1, 1, 2, 2)] * 3, 1.0) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def attend_test_of_finite_numbers(attend):
    assert attend(*[torch.ones(1, 1, 2, 2)] * 3, 1.0).isfinite().all()


@mistake(
    "The test asks for the core's own bits, and rejects a sound function that adds in another order.",
    "Compare with a tolerance.",
)
def attend_test_for_the_bits_of_the_core(attend):
    q = torch.randn(2, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(attend(q, q, q, 0.5), core_attend(q, q, q, 0.5))


ATTEND_TESTS = (
    attend_test_that_never_fails,
    attend_test_of_the_kind,
    attend_test_that_always_fails,
    attend_test_of_the_shape,
    attend_test_of_the_mask,
    attend_test_with_one_token,
    attend_test_for_equal_bits,
    attend_test_of_finite_numbers,
    attend_test_for_the_bits_of_the_core,
)

# ---------------------------------------------------------------- test_sound_decoding


def make_decoding_inputs():
    """Three tokens, and rotations for them."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 3, 4, generator=generator) for _ in range(3))
    return (
        q,
        k,
        v,
        lambda positions: torch.polar(torch.ones(len(positions), 2), positions[:, None] * torch.ones(2)),
    )


def decode_steps(decode_step, n_steps):
    q, k, v, turn = make_decoding_inputs()
    cache = []
    return [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, core_rope, turn)
        for t in range(n_steps)
    ]


@mistake(*LOOKS_AT_NOTHING)
def decoding_test_that_never_fails(decode_step):
    decode_steps(decode_step, 3)


@mistake("The test fails for every piece, the sound ones too.", "Run it on a step that you trust first.")
def decoding_test_that_always_fails(decode_step):
    raise AssertionError


@mistake("The test looks at the shape only.", "With which number should the output be compared?")
def decoding_test_of_the_shape(decode_step):
    assert decode_steps(decode_step, 2)[1].shape == (1, 1, 1, 4)


@mistake(
    "The test takes a single step. Position 0 is right in the broken piece too.",
    "Which position does the second token have?",
)
def decoding_test_of_one_step(decode_step):
    _, _, v, _ = make_decoding_inputs()
    assert torch.allclose(decode_steps(decode_step, 1)[0], v[..., :1, :], atol=1e-5)


@mistake(
    "The test asks whether the second step remembers the first. It does, but its position is wrong.",
    "Compare with all tokens at once, at their positions.",
)
def decoding_test_of_memory(decode_step):
    _, _, v, _ = make_decoding_inputs()
    second = decode_steps(decode_step, 2)[1]
    assert not torch.allclose(second, v[..., 1:2, :], atol=1e-5)
    assert second.abs().sum() > 0


@mistake(
    "The test expects attention without positions. The broken piece computes just that: it turns all by 0.",
    "Which query and which key are turned by how much, when all tokens are attended to at once?",
)
def decoding_test_without_positions(decode_step):
    q, k, v, _ = make_decoding_inputs()
    whole = core_attend(q, k, v, 0.5)
    assert torch.allclose(torch.cat(decode_steps(decode_step, 3), dim=-2), whole, atol=1e-5)


@mistake(
    "The test looks at the number of entries in the cache. It is right in the piece above, and a sound step may keep "
    "one pair of tensors that grow.",
    "Which number of the output would be different?",
)
def decoding_test_of_the_length(decode_step):
    q, k, v, turn = make_decoding_inputs()
    cache = []
    for t in range(2):
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, core_rope, turn)
    assert len(cache) == 2


@mistake(*LOOKS_AT_NO_NUMBER)
def decoding_test_of_the_kind(decode_step):
    assert decode_steps(decode_step, 2)[1] is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def decoding_test_of_finite_numbers(decode_step):
    assert decode_steps(decode_step, 2)[1].isfinite().all()


DECODING_TESTS = (
    decoding_test_that_never_fails,
    decoding_test_of_the_kind,
    decoding_test_that_always_fails,
    decoding_test_of_the_shape,
    decoding_test_of_one_step,
    decoding_test_of_memory,
    decoding_test_without_positions,
    decoding_test_of_the_length,
    decoding_test_of_finite_numbers,
)
