"""Tests that cannot tell: the known wrong answers to test_sound_layer, of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS
from nanokimi.cache import SequenceCache
from nanokimi.config import MLAConfig, RopeConfig
from nanokimi.rope import rotations


def layer_and_text(mla_class, n_heads=4):
    """A layer, three tokens and their rotation."""
    cfg, rope = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=2), RopeConfig()
    x = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(3))
    return mla_class(8, n_heads, cfg, rope), x, rotations(torch.arange(3), 4, rope)


def decode(mla_class, n_heads=4):
    """The outputs without and with a cache, and the cache."""
    (layer, x, rotation), cache = layer_and_text(mla_class, n_heads), SequenceCache()
    with torch.no_grad():
        return layer(x, rotation).out, layer(x, rotation, cache).out, cache


def decode_in_steps(mla_class):
    """The outputs without a cache, and with one token by token, and the cache."""
    (layer, x, rotation), cache = layer_and_text(mla_class), SequenceCache()
    with torch.no_grad():
        steps = [layer(x[:, t : t + 1], rotation[t : t + 1], cache).out for t in range(3)]
        return layer(x, rotation).out, torch.cat(steps, dim=1), cache


@mistake(*LOOKS_AT_NOTHING)
def cache_test_that_never_fails(mla_class):
    decode(mla_class)


@mistake(
    f"It passes for no layer that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on a right class, and print both sides of what it compares: which of them did you not expect?",
)
def cache_test_that_always_fails(mla_class):
    raise AssertionError


@mistake(
    "It passes for all layers that were tried but those whose output has another shape, or that give none.",
    "What is it that should be small?",
)
def cache_test_of_the_shape(mla_class):
    assert decode(mla_class)[1].shape == (1, 3, 8)


@mistake(
    "It refuses layers with other outputs, and passes for caches of every size: it compares the output with a cache "
    "and the one without. In the piece both are right.",
    "The outputs are right. What else does a cache have?",
)
def cache_test_of_the_output(mla_class):
    without, with_cache, _ = decode(mla_class)
    assert torch.allclose(without, with_cache, atol=1e-4)


@mistake(
    "It refuses layers that keep no token, or the last one only, and passes for caches a hundred times as large: it "
    "asks whether tokens are kept, or how many. The piece keeps each of them once, and too much of it.",
    "How many numbers are kept of one token?",
)
def cache_test_of_the_length(mla_class):
    assert decode(mla_class)[2].length == 3


@mistake(
    "It refuses caches of twice the right size, and not that of the piece above: with its sizes expanded keys and "
    "values are not larger than a latent entry, as with a single, narrow head.",
    "How many numbers are kept per token with your sizes, expanded for all heads, and how many should be kept?",
)
def cache_test_with_one_head(mla_class):
    cache = decode(mla_class, n_heads=1)[2]
    assert cache.nbytes <= 3 * (6 + 4) * 4


@mistake(
    "It refuses a sound layer that keeps two tensors, and the piece above for that alone: it asks for one tensor in "
    "the cache.",
    "Count bytes, not tensors.",
)
def cache_test_of_one_tensor(mla_class):
    assert len(decode(mla_class)[2].entries()) == 1


@mistake(LOOKS_AT_NO_NUMBER[0], "The outputs are right. What is it that should be small?")
def cache_test_of_the_kind(mla_class):
    assert decode(mla_class)[1] is not None


@mistake(
    "It refuses layers whose outputs, token by token, are others: it compares the output with a cache and the one "
    "without. In the piece both are right.",
    "The outputs are right. What else does a cache have?",
)
def cache_test_of_the_steps(mla_class):
    without, steps, _ = decode_in_steps(mla_class)
    assert torch.allclose(without, steps, atol=1e-4)


@mistake(
    "It passes for all layers that were tried but one that keeps nothing: it asks whether something is kept. The "
    "piece keeps too much.",
    "How many numbers should be kept of one token?",
)
def cache_test_of_not_empty(mla_class):
    assert decode(mla_class)[2].nbytes > 0


@mistake(
    "It passes for all layers that were tried but those that keep a hundred times as much: its bound is so high "
    "that expanded keys and values of all heads pass as well.",
    "How many numbers do all heads together keep per token, expanded, with your sizes, and how many should be kept?",
)
def cache_test_with_a_high_bound(mla_class):
    assert decode(mla_class)[2].nbytes <= 3 * 4 * (6 + 4) * 4


@mistake(
    "It refuses the sound layers, and passes for one that keeps the latent alone. The rope key is kept too: it "
    "cannot be made from the latent.",
    "How many numbers should be kept of one token?",
)
def cache_test_without_the_rope_key(mla_class):
    assert decode(mla_class)[2].nbytes == 3 * 6 * 4


@mistake(
    "It refuses the sound layers, and passes for those that keep less: its bound is below what they need, as where "
    "it leaves the rope key out. That cannot be made from the latent.",
    "How many numbers should be kept of one token, and how many bytes has each of them?",
)
def cache_test_bounded_by_the_latent(mla_class):
    assert decode(mla_class)[2].nbytes <= 3 * 6 * 4


@mistake(
    "It refuses the sound layers, and passes for one that keeps bfloat16, or half as many bytes. The layer runs in "
    "float32: four bytes per number.",
    "How many bytes has a number in float32?",
)
def cache_test_with_two_bytes(mla_class):
    assert decode(mla_class)[2].nbytes == 3 * (6 + 4) * 2


@mistake(
    "It does the opposite: it refuses the sound layers, and passes for those that keep more than they should.",
    "What must hold for a right class, and does your test ask for that? Is a sign the wrong way round?",
)
def cache_test_of_the_opposite(mla_class):
    assert decode(mla_class)[2].nbytes > 3 * (6 + 4) * 4


@mistake(
    "It refuses a sound layer whose cache has an axis of one head, and passes for caches a hundred times as large: "
    "it looks at the number of axes of what is kept.",
    "How much is kept for each token? Count bytes.",
)
def cache_test_of_the_axes(mla_class):
    assert all(t.ndim == 3 for t in decode(mla_class)[2].entries())


@mistake(
    "It refuses a sound layer that keeps two tensors: it looks at the width of one of them. Where a layer stores "
    "heads, it stores several rows of that width.",
    "How much is kept for each token? Count bytes.",
)
def cache_test_of_the_last_axis(mla_class):
    assert decode(mla_class)[2].entries()[0].shape[-1] == 6 + 4


@mistake(
    "It passes for all layers that were tried but one with a million more weights. The weights of the piece are "
    "right: what differs is stored while it runs.",
    "What grows with the length of the text?",
)
def cache_test_of_the_weights(mla_class):
    cfg = MLAConfig(kv_lora_rank=6, qk_nope_head_dim=2, qk_rope_head_dim=4, v_head_dim=2)
    assert sum(p.numel() for p in mla_class(8, 4, cfg, RopeConfig()).parameters()) < 10_000


@mistake(
    "It refuses a layer that sees the future, and passes for caches of every size: it asks whether a later token "
    "changes earlier outputs. In the piece above it does not.",
    "The outputs are right. What else does a cache have?",
)
def cache_test_of_the_future(mla_class):
    layer, x, rotation = layer_and_text(mla_class)
    other = x.clone()
    other[:, -1] += 1
    assert torch.allclose(layer(x, rotation).out[:, :-1], layer(other, rotation).out[:, :-1], atol=1e-4)


@mistake(
    "It refuses layers without gradients, and passes for caches of every size: it asks whether gradients reach the "
    "weights. In the piece above they do.",
    "The outputs and gradients are right. What else does a cache have?",
)
def cache_test_of_gradients(mla_class):
    layer, x, rotation = layer_and_text(mla_class)
    layer(x, rotation).out.sum().backward()
    assert layer.kv_b_proj.weight.grad is not None


@mistake(
    "It passes for all layers that were tried but those that give nan, or nothing. The numbers of the piece above "
    "are finite.",
    "The outputs are right. What is it that should be small?",
)
def cache_test_of_finite_numbers(mla_class):
    assert decode(mla_class)[0].isfinite().all()


@mistake(
    "Of all layers that keep something it refuses only one with much wider rows: it looks at the width of a stored "
    "row. A head's expanded key is not wider, and there is a row per head.",
    "Over which axes does the piece store its keys? Count all numbers, or bytes.",
)
def cache_test_of_the_width_of_a_row(mla_class):
    assert decode(mla_class)[2].entries()[0].shape[-1] <= 6 + 4


@mistake(
    "It refuses the sound layers, and passes for one that keeps nothing: it asks that the cache does not grow, or "
    "is empty. It grows with every token, in a sound layer too, by a little.",
    "How many numbers should a second token add?",
)
def cache_test_of_no_growth(mla_class):
    (layer, x, rotation), cache = layer_and_text(mla_class), SequenceCache()
    with torch.no_grad():
        layer(x[:, :1], rotation[:1], cache)
        before = cache.nbytes
        layer(x[:, 1:], rotation[1:], cache)
    assert cache.nbytes == before


WEAK_LAYER_TESTS = (
    cache_test_of_the_width_of_a_row,
    cache_test_of_no_growth,
    cache_test_that_never_fails,
    cache_test_of_the_kind,
    cache_test_that_always_fails,
    cache_test_of_the_shape,
    cache_test_of_the_output,
    cache_test_of_the_length,
    cache_test_with_one_head,
    cache_test_of_one_tensor,
    cache_test_of_the_steps,
    cache_test_of_not_empty,
    cache_test_with_a_high_bound,
    cache_test_without_the_rope_key,
    cache_test_bounded_by_the_latent,
    cache_test_with_two_bytes,
    cache_test_of_the_opposite,
    cache_test_of_the_axes,
    cache_test_of_the_last_axis,
    cache_test_of_the_weights,
    cache_test_of_the_future,
    cache_test_of_gradients,
    cache_test_of_finite_numbers,
)
