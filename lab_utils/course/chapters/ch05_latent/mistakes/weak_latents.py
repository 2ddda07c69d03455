"""Tests that cannot tell: the known wrong answers to test_sound_latents, of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.attention import attend
from nanokimi.mla import expand_latent


def inputs(seq=3, rank=6, nope=2, rope=2):
    generator = torch.Generator().manual_seed(3)
    shapes = ((1, 2, seq, nope + rope), (1, seq, rank), (1, seq, rope), (2, nope, rank), (2, 3, rank))
    return tuple(2 * torch.randn(shape, generator=generator) for shape in shapes)


def naive(q, latent, k_rope, expand_k, expand_v, scale=None):
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    return attend(q, k, v, q.shape[-1] ** -0.5 if scale is None else scale)


@mistake(*LOOKS_AT_NOTHING)
def scale_test_that_never_fails(attend_latents):
    attend_latents(*inputs())


@mistake("The test fails for every piece, the sound ones too.", "Run it on a naive version first.")
def scale_test_that_always_fails(attend_latents):
    raise AssertionError


@mistake(
    "The test expects heads that see later tokens too: its own naive form has no causal mask, so no sound "
    "version passes.",
    "What may the first token see in your expected numbers?",
)
def scale_test_without_a_mask(attend_latents):
    q, latent, k_rope, expand_k, expand_v = inputs()
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
    assert torch.allclose(attend_latents(q, latent, k_rope, expand_k, expand_v), expected, atol=1e-4)


@mistake("The test looks at the shape only.", "The piece has the right shapes. Which numbers are wrong?")
def scale_test_of_the_shape(attend_latents):
    assert attend_latents(*inputs()).shape == (1, 2, 3, 3)


@mistake(
    "The test's latent is exactly as wide as the nope part. There both scales are the same number, and the defect "
    "does not show.",
    "Which widths does the piece confuse? Make them different.",
)
def scale_test_with_equal_widths(attend_latents):
    given = inputs(rank=2)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test uses one token. A softmax over one key gives 1, whatever the scale is.",
    "How many keys does it take before a scale matters?",
)
def scale_test_with_one_token(attend_latents):
    given = inputs(seq=1)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test's query is zero, so all logits are equal, whatever they are multiplied by.",
    "Which logits does a scale change, and which does it not change?",
)
def scale_test_with_equal_logits(attend_latents):
    _, *rest = inputs()
    given = (torch.zeros(1, 2, 3, 4), *rest)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "The test demands equal bits, or its tolerance is smaller than float32 can hold. Sound versions add in another "
    "order and round differently.",
    "Compare with a tolerance.",
)
def scale_test_of_every_bit(attend_latents):
    assert torch.equal(attend_latents(*inputs()), naive(*inputs()))


@mistake(
    "The test compares with attention without a scale, so no sound version passes.",
    "What is the scale of the naive form?",
)
def scale_test_without_a_scale(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), naive(*inputs(), scale=1.0), atol=1e-4)


@mistake(*LOOKS_AT_NO_NUMBER)
def scale_test_of_the_kind(attend_latents):
    assert attend_latents(*inputs()) is not None


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def scale_test_of_finite_numbers(attend_latents):
    assert attend_latents(*inputs()).isfinite().all()


@mistake(
    "The test asks whether a later token changes earlier outputs. In the piece above it does not.",
    "Which number of the piece is wrong? Work the right one out by hand.",
)
def scale_test_of_the_future(attend_latents):
    q, latent, *rest = inputs()
    other = latent.clone()
    other[:, -1] += 1
    assert torch.allclose(
        attend_latents(q, latent, *rest)[:, :, :-1], attend_latents(q, other, *rest)[:, :, :-1], atol=1e-4
    )


@mistake(
    "The test looks at the first token only. It sees one key, and a softmax over one key gives 1, whatever the "
    "scale is.",
    "How many keys does it take before a scale matters?",
)
def scale_test_of_the_first_token(attend_latents):
    assert torch.allclose(attend_latents(*inputs())[:, :, 0], naive(*inputs())[:, :, 0], atol=1e-4)


@mistake(
    "Of all pieces that were tried, the test refuses only those that give nan, or other numbers each time.",
    "What do you know of the right result that does not come from the piece?",
)
def scale_test_of_repeating(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), attend_latents(*inputs()), atol=1e-6)


TOO_MUCH_ROOM = (
    "The test leaves so much room that only numbers of quite another size are refused. Those of the piece above are "
    "near the right ones.",
    "How far is the piece above from the right result, and how far are two sound versions from one another?",
)


@mistake(*TOO_MUCH_ROOM)
def scale_test_with_room_for_ten(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), naive(*inputs()), atol=10)


@mistake(*TOO_MUCH_ROOM)
def scale_test_of_an_upper_bound(attend_latents):
    assert attend_latents(*inputs()).abs().max() < 100


@mistake(
    "The test says the opposite: it refuses sound pieces and lets broken ones through.",
    "Run it on a naive version first. Is there a `not` too many?",
)
def scale_test_of_the_opposite(attend_latents):
    assert not torch.allclose(attend_latents(*inputs()), naive(*inputs()), atol=1e-4)


@mistake(
    "The test expects the logits scaled by the width of the latent entry. That is what is wrong with the piece.",
    "What is the scale of the naive form?",
)
def scale_test_with_the_broken_scale(attend_latents):
    given = inputs()
    assert torch.allclose(attend_latents(*given), naive(*given, scale=8**-0.5), atol=1e-4)


@mistake(
    "The test expects the logits scaled by the nope width alone, so no sound version passes.",
    "What is the scale of the naive form?",
)
def scale_test_with_the_nope_scale(attend_latents):
    given = inputs()
    assert torch.allclose(attend_latents(*given), naive(*given, scale=2**-0.5), atol=1e-4)


@mistake(
    "The test asks only that the result is not zero.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_not_zero(attend_latents):
    assert attend_latents(*inputs()).abs().sum() > 0


@mistake(
    "The test asks only that two heads give different results.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_different_heads(attend_latents):
    out = attend_latents(*inputs())
    assert not torch.allclose(out[:, 0], out[:, 1], atol=1e-4)


@mistake(
    "The test asks only that another latent gives another result. In the piece above it does.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_dependence(attend_latents):
    q, latent, *rest = inputs()
    assert not torch.allclose(
        attend_latents(q, latent, *rest), attend_latents(q, latent + 1, *rest), atol=1e-4
    )


LATENTS_TESTS = (
    scale_test_that_never_fails,
    scale_test_of_the_kind,
    scale_test_that_always_fails,
    scale_test_without_a_mask,
    scale_test_of_the_shape,
    scale_test_with_equal_widths,
    scale_test_with_one_token,
    scale_test_with_equal_logits,
    scale_test_of_every_bit,
    scale_test_without_a_scale,
    scale_test_of_finite_numbers,
    scale_test_of_the_future,
    scale_test_of_the_first_token,
    scale_test_of_repeating,
    scale_test_with_room_for_ten,
    scale_test_of_an_upper_bound,
    scale_test_of_the_opposite,
    scale_test_with_the_broken_scale,
    scale_test_with_the_nope_scale,
    scale_test_of_not_zero,
    scale_test_of_different_heads,
    scale_test_of_dependence,
)
