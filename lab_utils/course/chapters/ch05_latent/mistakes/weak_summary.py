"""Tests that cannot tell: the known wrong answers to test_sound_summary, of notebook 05."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, LOOKS_FOR_FINITE_NUMBERS, mistake


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
    "The test asks that the output of a token stays although it has changed that token itself. It may move.",
    "Which outputs must not move when token t changes: those before t, or that of t?",
)
def future_test_of_the_last_token(layer):
    other = text()
    other[:, -1] += 1
    assert torch.allclose(layer(text())[:, -1], layer(other)[:, -1], atol=1e-4)


@mistake(
    "The test demands that every bit is equal. A sound layer may round differently when more tokens follow.",
    "Compare with a tolerance.",
)
def future_test_of_every_bit(layer):
    assert torch.equal(layer(text()[:, :5]), layer(text())[:, :5])


@mistake(*LOOKS_AT_NO_NUMBER)
def future_test_of_the_kind(layer):
    assert layer(text()) is not None


@mistake(
    "The test also looks at outputs that may move: those of tokens that it has changed or left out.",
    "Which outputs must not move when token t changes?",
)
def future_test_of_all_outputs(layer):
    other = text()
    other[:, 5:] = 0
    assert torch.allclose(layer(text()), layer(other), atol=1e-4)


TOO_SMALL = (
    "The change is too small for the room that the test leaves: a layer that sees the future moves by less.",
    "By how much do the outputs of the layer above move? Change the tokens by more, or compare more closely.",
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
    "Only the order of the later tokens changes. A summary of all tokens is the same in every order: no leak shows.",
    "Would your summary change if other tokens stood there?",
)
def future_test_of_the_order(layer):
    other = text()
    other[:, 5:] = other[:, 5:].flip(1)
    assert torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=1e-4)


@mistake(
    "Of all layers that were tried, the test refuses only those that give nan, or other numbers each time: what it "
    "changes in the text does not show.",
    "Are any tokens of your second text different, and by much more than the tolerance?",
)
def future_test_of_repeating(layer):
    assert torch.allclose(layer(text()), layer(text()), atol=1e-6)


@mistake(
    "The test says the opposite: it refuses sound layers and lets through those that see the future.",
    "Run it on a layer that you trust first. Is there a `not` too many?",
)
def future_test_of_the_opposite(layer):
    other = text()
    other[:, 5:] += 1
    assert not torch.allclose(layer(text())[:, :5], layer(other)[:, :5], atol=1e-4)


@mistake(
    "The test demands that every bit is equal. A sound layer may round differently when other tokens follow.",
    "Compare with a tolerance.",
)
def future_test_of_every_bit_after_a_change(layer):
    other = text()
    other[:, 5:] = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(6))
    assert torch.equal(layer(text())[:, :5], layer(other)[:, :5])


@mistake(
    "The test asks whether the past is seen: an early token must change later outputs. A layer that sees the future "
    "sees the past too.",
    "Change the end, and look at the beginning.",
)
def future_test_that_the_past_is_seen(layer):
    other = text()
    other[:, 0] += 1
    assert not torch.allclose(layer(text())[:, -1], layer(other)[:, -1], atol=1e-4)


@mistake(*LOOKS_FOR_FINITE_NUMBERS)
def future_test_of_finite_numbers(layer):
    assert layer(text()).isfinite().all()


@mistake(
    "The test asks that a text and its reverse give the same. They need not, in a sound layer either.",
    "What must stay as it is when a later token changes?",
)
def future_test_of_the_reverse(layer):
    assert torch.allclose(layer(text()), layer(text().flip(1)), atol=1e-4)


@mistake(
    "The test asks whether the layer gives each token what it gets. No layer of attention does.",
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
    future_test_of_every_bit_after_a_change,
    future_test_that_the_past_is_seen,
    future_test_of_finite_numbers,
    future_test_of_the_reverse,
    future_test_of_the_input,
)
