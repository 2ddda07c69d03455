"""Tests that cannot tell: the known wrong answers to test_sound_summary, of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake
from lab_utils.course.probes import OR_EQUAL_NUMBERS


def text(seq_len=8):
    return torch.randn(1, seq_len, 8, generator=torch.Generator().manual_seed(5))


@mistake(*LOOKS_AT_NOTHING)
def future_test_that_never_fails(layer):
    layer(text())


@mistake(
    f"It passes for no layer that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Which outputs of a layer that you trust move when a later token changes, and by how much? Rounding moves some "
    "by 1e-7.",
)
def future_test_that_always_fails(layer):
    raise AssertionError


@mistake(
    "It passes for all layers that were tried but those of another shape, or that give nothing. A layer that sees "
    "the future has the right shape.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_the_shape(layer):
    assert layer(text()).shape == text().shape


@mistake(
    "It passes for layers that give the mean of all tokens, or add the last one: with its texts these are the same, "
    "as where all tokens are alike. However many equal tokens there are, their summary is the same.",
    "Would a summary of all tokens be another one for your second text?",
)
def future_test_with_equal_tokens(layer):
    same = torch.ones(1, 8, 8)
    assert torch.allclose(layer(same[:, :5]), layer(same)[:, :5], atol=1e-4)


@mistake(
    "It refuses the sound layers, and passes for one that gives the token before: it asks that an output stays "
    "although its own token has changed. It may move.",
    "Which outputs must not move when token t changes: those before t, or that of t?",
)
def future_test_of_the_last_token(layer):
    other = text()
    other[:, -1] += 1
    assert torch.allclose(layer(text())[:, -1], layer(other)[:, -1], atol=1e-4)


@mistake(
    "It refuses sound layers that round differently when more or other tokens follow: it leaves less room than "
    "float32 rounding takes.",
    "By how much may an output of a sound layer move, and how much does your test let through?",
)
def future_test_of_every_bit(layer):
    assert torch.equal(layer(text()[:, :5]), layer(text())[:, :5])


@mistake(LOOKS_AT_NO_NUMBER[0], "What must stay as it is when a later token changes?")
def future_test_of_the_kind(layer):
    assert layer(text()) is not None


@mistake(
    "It refuses every layer whose outputs depend on the tokens: it asks that outputs stay which may move, as those "
    "of tokens that it has changed or left out.",
    "Which outputs must not move when token t changes?",
)
def future_test_of_all_outputs(layer):
    other = text()
    other[:, 5:] = 0
    assert torch.allclose(layer(text()), layer(other), atol=1e-4)


TOO_SMALL = (
    "It refuses only a leak that is a million times as large: its change of the text moves the outputs by less than "
    "it lets through, be it that the change is small or that the tolerance is wide.",
    "By how much do the outputs of the layer above move with your two texts, and how much does your test let "
    "through?",
)


@mistake(*TOO_SMALL)
def future_test_of_a_tiny_change(layer):
    other = text()
    other[:, 5:] += 1e-6
    assert torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=1e-4)


@mistake(*TOO_SMALL)
def future_test_with_much_room(layer):
    other = text()
    other[:, 5:] += 0.5
    assert torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=20)


@mistake(
    "It passes for layers that add the sum of all tokens, or give their mean: these are the same in its two texts, "
    "as where only the order of the later tokens changes. A summary of all tokens shows no leak there.",
    "Would a summary of all tokens be another one for your second text?",
)
def future_test_of_the_order(layer):
    other = text()
    other[:, 5:] = other[:, 5:].flip(1)
    assert torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=1e-4)


@mistake(
    "It passes for all layers that were tried but those that give nan, or other numbers each time: what it "
    "changes in the text does not show, if it changes anything.",
    "Are any tokens of your second text different, and by much more than the tolerance?",
)
def future_test_of_repeating(layer):
    assert torch.allclose(layer(text()), layer(text()), atol=1e-6)


@mistake(
    "It does the opposite: it refuses the sound layers, and passes for those whose outputs move with later tokens.",
    "What must hold for a layer that you trust, and does your test ask for that? Is there a `not` or a sign too "
    "many?",
)
def future_test_of_the_opposite(layer):
    other = text()
    other[:, 5:] += 1
    assert not torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=1e-4)


@mistake(
    "It refuses layers that do not see their past, and passes for those that see the future: it asks that an early "
    "token changes later outputs. The broken layers see the past too.",
    "What must stay as it is when a later token changes?",
)
def future_test_that_the_past_is_seen(layer):
    other = text()
    other[:, 0] += 1
    assert not torch.allclose(layer(text())[:, -1], layer(other)[:, -1], atol=1e-4)


@mistake(
    "It passes for all layers that were tried but those that give nan, infinite numbers, or nothing. The numbers "
    "of the layer above are finite.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_finite_numbers(layer):
    assert layer(text()).isfinite().all()


@mistake(
    "It refuses the sound layers, and passes for one that gives the mean of all tokens: it asks that a text gives "
    "the same as its reverse. It need not, in a sound layer either.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_the_reverse(layer):
    assert torch.allclose(layer(text()), layer(text().flip(1)), atol=1e-4)


@mistake(
    "It refuses the sound layers, and passes for one that gives its input: it asks that each token gives what it "
    "is. No layer of attention does.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_the_input(layer):
    assert torch.allclose(layer(text()), text(), atol=1e-4)


SUMMARY_TESTS = (
    future_test_that_never_fails,
    future_test_of_the_kind,
    future_test_that_always_fails,
    future_test_of_the_shape,
    future_test_with_equal_tokens,
    future_test_of_the_last_token,
    future_test_of_every_bit,
    future_test_of_all_outputs,
    future_test_of_a_tiny_change,
    future_test_with_much_room,
    future_test_of_the_order,
    future_test_of_repeating,
    future_test_of_the_opposite,
    future_test_that_the_past_is_seen,
    future_test_of_finite_numbers,
    future_test_of_the_reverse,
    future_test_of_the_input,
)
