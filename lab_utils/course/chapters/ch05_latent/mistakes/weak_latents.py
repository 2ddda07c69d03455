"""Tests that cannot tell: the known wrong answers to test_sound_latents, of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS
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


@mistake(
    f"It passes for no piece that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "What does a naive version give, what does the test expect, and how far apart are the two?",
)
def scale_test_that_always_fails(attend_latents):
    raise AssertionError


@mistake(
    "It refuses the sound pieces, and passes for one that sees the future: it expects that tokens see later tokens "
    "too.",
    "What may the first token see in your expected numbers?",
)
def scale_test_without_a_mask(attend_latents):
    q, latent, k_rope, expand_k, expand_v = inputs()
    k, v = expand_latent(latent, k_rope, expand_k, expand_v)
    expected = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1) @ v
    assert torch.allclose(attend_latents(q, latent, k_rope, expand_k, expand_v), expected, atol=1e-4)


@mistake(
    "It passes for all pieces that were tried but one of another shape, and one that gives nothing.",
    "The piece has the right shapes. Which numbers are wrong?",
)
def scale_test_of_the_shape(attend_latents):
    assert attend_latents(*inputs()).shape == (1, 2, 3, 3)


@mistake(
    "It refuses other wrong scales, and not that of the piece above: with its widths this is the right one, or so "
    "near to it that its tolerance covers it.",
    "Which widths does the piece confuse, and how far apart are the two scales with yours?",
)
def scale_test_with_equal_widths(attend_latents):
    given = inputs(rank=2)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "It passes for every scale, for a token's own value, and for a piece that sees the future: in it each query has "
    "one key, whose weight is 1, as where there is one token.",
    "How many keys does it take before a scale matters?",
)
def scale_test_with_one_token(attend_latents):
    given = inputs(seq=1)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "It passes for every scale, and for a piece without the rope part: they change no weight by more than its "
    "tolerance, be it that the query is zero, that the logits are small or equal, or that the tolerance is wide.",
    "By how much does another scale change your logits, by how much the result, and how much does your test let "
    "through?",
)
def scale_test_with_equal_logits(attend_latents):
    _, *rest = inputs()
    given = (torch.zeros(1, 2, 3, 4), *rest)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


@mistake(
    "It refuses the sound pieces, and passes for one without a scale.",
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
    "It refuses a piece that sees the future, and passes for zeros and the negative: it asks whether a later token "
    "changes earlier outputs. In the piece above it does not.",
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
    "It passes for pieces that are right for the first token only, and for every scale: it asks nothing of later "
    "tokens. The first one sees one key, whose weight is 1.",
    "How many keys does it take before a scale matters?",
)
def scale_test_of_the_first_token(attend_latents):
    assert torch.allclose(attend_latents(*inputs())[:, :, 0], naive(*inputs())[:, :, 0], atol=1e-4)


@mistake(
    "It passes for all pieces that were tried but those that give nan, or other numbers each time.",
    "What do you know of the right result that does not come from the piece?",
)
def scale_test_of_repeating(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), attend_latents(*inputs()), atol=1e-6)


@mistake(
    "It passes for other scales, and for a piece that is off by 0.01: it leaves more room than lies between the "
    "piece above and a sound one, be it that the tolerance is wide or that the numbers are close.",
    "How far is the piece above from the right result, with your numbers, and how far are two sound versions from "
    "one another?",
)
def scale_test_with_room_for_ten(attend_latents):
    assert torch.allclose(attend_latents(*inputs()), naive(*inputs()), atol=10)


@mistake(
    "It passes for zeros and for the negative, and refuses only numbers that are much too large, or nan: it asks "
    "for a bound or range, or its tolerance is wide.",
    "How far is the piece above from the right result, with your numbers, and how far are two sound versions from "
    "one another?",
)
def scale_test_of_an_upper_bound(attend_latents):
    assert attend_latents(*inputs()).abs().max() < 100


@mistake(
    "It does the opposite: it refuses the sound pieces, and passes for those whose numbers are others, the broken "
    "ones too.",
    "What must hold for a naive version, and does your test ask for that? Is there a `not` or a sign too many?",
)
def scale_test_of_the_opposite(attend_latents):
    assert not torch.allclose(attend_latents(*inputs()), naive(*inputs()), atol=1e-4)


@mistake(
    "It refuses the sound pieces, and passes for the broken ones: it expects their scale, by the width of the "
    "latent entry.",
    "What is the scale of the naive form?",
)
def scale_test_with_the_broken_scale(attend_latents):
    given = inputs()
    assert torch.allclose(attend_latents(*given), naive(*given, scale=8**-0.5), atol=1e-4)


@mistake(
    "It refuses the sound pieces, and passes for one that is scaled by the nope width alone.",
    "What is the scale of the naive form?",
)
def scale_test_with_the_nope_scale(attend_latents):
    given = inputs()
    assert torch.allclose(attend_latents(*given), naive(*given, scale=2**-0.5), atol=1e-4)


@mistake(
    "It passes for all pieces that were tried but those that give zeros, nan, or nothing: it asks whether "
    "something other than 0 comes out.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_not_zero(attend_latents):
    assert attend_latents(*inputs()).abs().sum() > 0


@mistake(
    "It refuses pieces whose heads give the same, as zeros, and passes for all other numbers: it asks whether two "
    "heads differ.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_different_heads(attend_latents):
    out = attend_latents(*inputs())
    assert not torch.allclose(out[:, 0], out[:, 1], atol=1e-4)


@mistake(
    "It refuses pieces that give the same for every text, as zeros, and passes for all other numbers: it asks "
    "whether two results differ. In the piece above they do.",
    "Which number comes out different in the piece above? Work the right one out by hand.",
)
def scale_test_of_dependence(attend_latents):
    q, latent, *rest = inputs()
    assert not torch.allclose(
        attend_latents(q, latent, *rest), attend_latents(q, latent + 1, *rest), atol=1e-4
    )


@mistake(
    "It passes for every scale, and for a token's own value: no weight matters in it, be it that all keys or all "
    "values are alike.",
    "By how much does another scale change your result?",
)
def scale_test_of_equal_tokens(attend_latents):
    q, latent, k_rope, expand_k, expand_v = inputs()
    given = (q, latent[:, :1].expand_as(latent), k_rope[:, :1].expand_as(k_rope), expand_k, expand_v)
    assert torch.allclose(attend_latents(*given), naive(*given), atol=1e-4)


LATENTS_TESTS = (
    scale_test_of_equal_tokens,
    scale_test_that_never_fails,
    scale_test_of_the_kind,
    scale_test_that_always_fails,
    scale_test_without_a_mask,
    scale_test_of_the_shape,
    scale_test_with_equal_widths,
    scale_test_with_one_token,
    scale_test_with_equal_logits,
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
