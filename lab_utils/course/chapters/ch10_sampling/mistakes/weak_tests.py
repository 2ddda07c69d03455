"""Tests that cannot tell: the known wrong answers to the bug hunts of notebook 10."""

import torch

from lab_utils.course.exercise import LOOKS_AT_NO_NUMBER, LOOKS_AT_NOTHING, mistake
from lab_utils.course.probes import EXPECTS_THE_BROKEN, OR_EQUAL_NUMBERS

# ---------------------------------------------------------------- test_sound_sampling


@mistake(*LOOKS_AT_NOTHING)
def sampling_test_that_never_fails(next_token_probs):
    next_token_probs(torch.zeros(3))


@mistake(
    f"It passes for no piece that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on a right next_token_probs first. Which `assert` does not hold: does it expect something wrong, or "
    "compare numbers without room for rounding?",
)
def sampling_test_that_always_fails(next_token_probs):
    raise AssertionError


@mistake(
    "It refuses only the pieces whose probabilities do not sum to 1. Those of the broken piece do.",
    "The question is which tokens can be drawn at all. At which temperature does it show?",
)
def sampling_test_of_the_sum(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 0.0]), temperature=2.0, top_p=0.7)
    assert abs(probs.sum().item() - 1) < 1e-5


@mistake(
    "It passes for a piece that uses the temperature the wrong way: it asks for nothing that depends on it.",
    "At which temperature are the distributions before and after it different?",
)
def sampling_test_at_temperature_one(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 0.0, -9.0]), top_p=0.7)
    assert (probs > 0).tolist() == [True, True, False, False]


@mistake(
    "It passes for a piece that never cuts to p, and refuses one that never cuts to k: with top-k alone the order "
    "changes nothing.",
    "Which of the two cuts depends on the temperature?",
)
def sampling_test_with_top_k(next_token_probs):
    kept = torch.tensor([2.0, 0.0]).div(2).softmax(dim=0)
    probs = next_token_probs(torch.tensor([2.0, 0.0, -1.0]), temperature=2.0, top_k=2)
    assert torch.allclose(probs, torch.tensor([*kept, 0.0]), atol=1e-4)


@mistake(
    "It passes for a piece that never cuts: be it that no token is left out with its numbers, or that those which "
    "are have less than its tolerance. Where nothing is cut, there is no order to get wrong.",
    "Is `top_p` given, which tokens does it leave out with your numbers, and by how much would the result differ "
    "without it?",
)
def sampling_test_of_temperature_alone(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 0.0]), temperature=2.0)
    assert abs(probs[0].item() - torch.tensor(1.0).sigmoid().item()) < 1e-5


@mistake(
    "It asks about the temperature and about a cut, but with its numbers the broken pieces keep the right tokens "
    "too, and what it asks of these holds there.",
    "Work both nuclei out by hand. For which top_p do they hold different numbers of tokens?",
)
def sampling_test_where_both_keep_the_same(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 0.0]), temperature=2.0, top_p=0.7)
    assert (probs > 0).tolist() == [True, True, False]


@mistake(*EXPECTS_THE_BROKEN)
def sampling_test_of_the_broken_nucleus(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 0.0]), temperature=2.0, top_p=0.82)
    assert (probs > 0).tolist() == [True, True, False]


@mistake(*LOOKS_AT_NO_NUMBER)
def sampling_test_of_the_kind(next_token_probs):
    assert next_token_probs(torch.zeros(3), temperature=2.0, top_p=0.5) is not None


@mistake(
    "It passes for pieces that never cut to p, and refuses the sound ones, which cut.",
    "Work it out by hand, at your temperature: how many tokens does it take to reach top_p?",
)
def sampling_test_of_a_nucleus_too_large(next_token_probs):
    probs = next_token_probs(torch.tensor([3.0, 2.0, 1.0, -1.0]), temperature=2.0, top_p=0.9)
    assert (probs > 0).all()


SAMPLING_TESTS = (
    sampling_test_of_a_nucleus_too_large,
    sampling_test_that_never_fails,
    sampling_test_of_the_kind,
    sampling_test_that_always_fails,
    sampling_test_of_the_sum,
    sampling_test_at_temperature_one,
    sampling_test_of_temperature_alone,
    sampling_test_with_top_k,
    sampling_test_where_both_keep_the_same,
    sampling_test_of_the_broken_nucleus,
)

# ---------------------------------------------------------------- test_sound_top_k


@mistake(*LOOKS_AT_NOTHING)
def top_k_test_that_never_fails(next_token_probs):
    next_token_probs(torch.zeros(3), top_k=2)


@mistake(
    f"It passes for no piece that was tried, the sound ones included: {OR_EQUAL_NUMBERS}",
    "Run it on a right next_token_probs first. Which `assert` does not hold: does it expect something wrong, or "
    "compare numbers without room for rounding?",
)
def top_k_test_that_always_fails(next_token_probs):
    raise AssertionError


@mistake(
    "It refuses a piece that never cuts to k, and not one that keeps ties: with its logits the broken piece is right.",
    "How many places are left for the tokens that have the k-th largest logit, and how many such tokens are there? "
    "There must be more tokens than places.",
)
def top_k_test_without_ties(next_token_probs):
    assert (next_token_probs(torch.tensor([3.0, 2.0, 1.0]), top_k=2) > 0).tolist() == [True, True, False]


@mistake(
    "It refuses only the pieces whose probabilities do not sum to 1. Those of the broken piece do.",
    "How many tokens may be drawn after top_k=2?",
)
def top_k_test_of_the_sum(next_token_probs):
    assert abs(next_token_probs(torch.zeros(4), top_k=2).sum().item() - 1) < 1e-5


@mistake(
    "It passes for a piece that never cuts: it asks only that enough tokens are left.",
    "Is `at least k` what top-k promises?",
)
def top_k_test_of_at_least_k(next_token_probs):
    assert (next_token_probs(torch.zeros(4), top_k=2) > 0).sum() >= 2


@mistake(*LOOKS_AT_NO_NUMBER)
def top_k_test_of_the_kind(next_token_probs):
    assert next_token_probs(torch.zeros(3), top_k=2) is not None


@mistake(
    "Nothing that it asks for depends on top-k: it passes for a piece that never cuts to k.",
    "Which argument does the broken piece use wrongly?",
)
def top_k_test_of_top_p(next_token_probs):
    assert (next_token_probs(torch.tensor([3.0, 2.0, 1.0]), top_p=0.7) > 0).tolist() == [True, True, False]


@mistake(
    "It refuses a piece that never cuts to k, and not one that keeps ties: with its logits the broken piece is "
    "right, be it that no tokens tie, or that the tie does not go beyond place k.",
    "The broken piece keeps too many where the k-th and the next token are equal. Are they, in your logits?",
)
def top_k_test_of_a_tie_elsewhere(next_token_probs):
    right = torch.tensor([0.5, 0.5, 0.0, 0.0])
    assert torch.allclose(next_token_probs(torch.tensor([2.0, 2.0, 1.0, 0.0]), top_k=2), right)


TREATS_EQUALS_ALIKE = (
    "It refuses the sound pieces, and passes where tokens that tie are treated alike, as the broken pieces do and "
    "pieces that never cut.",
    "How many tokens may be left for top_k=2, and what happens to the others of equals?",
)


@mistake(*TREATS_EQUALS_ALIKE)
def top_k_test_of_equal_shares(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 1.0, 0.0]), top_k=2)
    assert probs[1] == probs[2]


@mistake(*TREATS_EQUALS_ALIKE)
def top_k_test_of_equal_shares_of_the_last(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 1.0, 1.0]), top_k=3)
    assert probs[2] == probs[3]


@mistake(*EXPECTS_THE_BROKEN)
def top_k_test_of_the_broken_count(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 1.0, 0.0]), top_k=2)
    assert (probs > 0).tolist() == [True, True, True, False]


@mistake(
    "It refuses the sound pieces, and passes for one that keeps the higher ids of equals.",
    "Which of equal tokens stay, by next_token_probs' docstring?",
)
def top_k_test_of_the_higher_ids(next_token_probs):
    probs = next_token_probs(torch.tensor([2.0, 1.0, 1.0, 1.0]), top_k=2)
    assert (probs > 0).tolist() == [True, False, False, True]


@mistake(
    "It passes for a piece that never cuts: it asks for a sum of 1, and only that enough tokens are left.",
    "Is `at least k` what top-k promises?",
)
def top_k_test_of_at_least_k_and_the_sum(next_token_probs):
    probs = next_token_probs(torch.zeros(4), top_k=2)
    assert (probs > 0).sum() >= 2 and abs(probs.sum().item() - 1) < 1e-5


TOP_K_TESTS = (
    top_k_test_that_never_fails,
    top_k_test_of_the_kind,
    top_k_test_that_always_fails,
    top_k_test_without_ties,
    top_k_test_of_the_sum,
    top_k_test_of_at_least_k,
    top_k_test_of_top_p,
    top_k_test_of_a_tie_elsewhere,
    top_k_test_of_equal_shares,
    top_k_test_of_equal_shares_of_the_last,
    top_k_test_of_the_broken_count,
    top_k_test_of_the_higher_ids,
    top_k_test_of_at_least_k_and_the_sum,
)
