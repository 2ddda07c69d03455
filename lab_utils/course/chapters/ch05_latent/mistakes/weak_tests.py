"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake
from nanokimi.attention import attend
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.mla import expand_latent
from nanokimi.rope import rotations

# ---------------------------------------------------------------- test_sound_latents


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
    "The test demands that every bit is equal. Sound versions add in another order and round differently.",
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


LATENTS_TESTS = (
    scale_test_that_never_fails,
    scale_test_of_the_kind,
    scale_test_that_always_fails,
    scale_test_of_the_shape,
    scale_test_with_equal_widths,
    scale_test_with_one_token,
    scale_test_with_equal_logits,
    scale_test_of_every_bit,
    scale_test_without_a_scale,
    scale_test_of_finite_numbers,
)

# ---------------------------------------------------------------- test_sound_layer


def decode(mla_class, n_heads=4):
    """A layer, its outputs without and with a cache, and the cache, for three tokens."""
    cfg, rope = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=2), RopeConfig()
    layer, cache = mla_class(8, n_heads, cfg, rope), SequenceCache()
    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(3))
    rotation = rotations(torch.arange(3), 4, rope)
    with torch.no_grad():
        return layer(x, rotation).out, layer(x, rotation, cache).out, cache


@mistake(*LOOKS_AT_NOTHING)
def cache_test_that_never_fails(mla_class):
    decode(mla_class)


@mistake("The test fails for every layer, the sound ones too.", "Run it on the core's class first.")
def cache_test_that_always_fails(mla_class):
    raise AssertionError


@mistake("The test looks at the shape of the output only.", "What is it that should be small?")
def cache_test_of_the_shape(mla_class):
    assert decode(mla_class)[1].shape == (1, 3, 8)


@mistake(
    "The test asks whether the output with a cache is the one without. In the piece it is.",
    "The outputs are right. What else does a cache have?",
)
def cache_test_of_the_output(mla_class):
    without, with_cache, _ = decode(mla_class)
    assert torch.allclose(without, with_cache, atol=1e-4)


@mistake(
    "The test asks whether tokens are stored, or how many. The piece stores each of them once, and too much of it.",
    "How many numbers are kept of one token?",
)
def cache_test_of_the_length(mla_class):
    assert decode(mla_class)[2].length == 3


@mistake(
    "The test has a single head, so narrow that its expanded keys and values are not larger than the latent.",
    "With how many heads does it begin to matter?",
)
def cache_test_with_one_head(mla_class):
    cache = decode(mla_class, n_heads=1)[2]
    assert cache.nbytes <= 3 * (6 + 4) * 4


@mistake(
    "The test asks for one tensor in the cache. A layer may store latent and rope key apart and be sound.",
    "Count bytes, not tensors.",
)
def cache_test_of_one_tensor(mla_class):
    assert len(decode(mla_class)[2].entries()) == 1


@mistake(*LOOKS_AT_NO_NUMBER)
def cache_test_of_the_kind(mla_class):
    assert decode(mla_class)[1] is not None


LAYER_TESTS = (
    cache_test_that_never_fails,
    cache_test_of_the_kind,
    cache_test_that_always_fails,
    cache_test_of_the_shape,
    cache_test_of_the_output,
    cache_test_of_the_length,
    cache_test_with_one_head,
    cache_test_of_one_tensor,
)

# ---------------------------------------------------------------- test_sound_summary


def text(seq_len=8):
    return torch.randn(1, seq_len, 8, generator=torch.Generator().manual_seed(5))


@mistake(*LOOKS_AT_NOTHING)
def future_test_that_never_fails(layer):
    layer(text())


@mistake("The test fails for every layer, the sound ones too.", "Run it on a layer that you trust first.")
def future_test_that_always_fails(layer):
    raise AssertionError


@mistake(
    "The test looks at the shape only. A layer that sees the future has the right shape.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_the_shape(layer):
    assert layer(text()).shape == text().shape


@mistake(
    "The test's tokens are all alike. However many equal tokens there are, their summary is the same: no leak shows.",
    "Would your summary change if the text were longer?",
)
def future_test_with_equal_tokens(layer):
    same = torch.ones(1, 8, 8)
    assert torch.allclose(layer(same[:, :5]), layer(same)[:, :5], atol=1e-4)


@mistake(
    "The test changes the last token and looks at the last output, which may change.",
    "Which outputs must not move when token t changes: those before t, or that of t?",
)
def future_test_of_the_last_token(layer):
    other = text()
    other[:, -1] += 1
    assert torch.allclose(layer(text())[:, -1], layer(other)[:, -1], atol=1e-4)


@mistake(
    "The test looks the wrong way: it changes the first token and asks that the later outputs stay. Seeing the past "
    "is what attention is for.",
    "Which triangle of the Jacobian must be zero?",
)
def future_test_of_the_past(layer):
    other = text()
    other[:, 0] += 1
    assert torch.allclose(layer(text())[:, 1:], layer(other)[:, 1:], atol=1e-4)


@mistake(
    "The test demands that every bit is equal. A sound layer may round differently when more tokens follow.",
    "Compare with a tolerance.",
)
def future_test_of_every_bit(layer):
    assert torch.equal(layer(text()[:, :5]), layer(text())[:, :5])


@mistake(*LOOKS_AT_NO_NUMBER)
def future_test_of_the_kind(layer):
    assert layer(text()) is not None


SUMMARY_TESTS = (
    future_test_that_never_fails,
    future_test_of_the_kind,
    future_test_that_always_fails,
    future_test_of_the_shape,
    future_test_with_equal_tokens,
    future_test_of_the_last_token,
    future_test_of_the_past,
    future_test_of_every_bit,
)
