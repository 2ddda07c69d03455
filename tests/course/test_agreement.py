"""When a known mistake and an answer are alike: the words of a refusal are the learner's own, its kind is not."""

import pytest
import torch

from lab_utils.course.agreement import agree
from lab_utils.course.attempt import Outcome

BARE = Outcome(None, "It raises ValueError: (it says no more)")
LINE = "Line 4 of your cell: "


@pytest.mark.parametrize(
    ("problem", "place", "alike"),
    [
        ("It raises ValueError: too many tokens", 'raise ValueError("too many tokens")', True),
        ("It raises ValueError: too many tokens", 'if n > 3: raise ValueError("too many tokens")', True),
        ("It raises ValueError: (it says no more)", "raise ValueError", True),
        ("It raises ValueError: too many values to unpack", "a, b = values", False),
        ("It raises TypeError: too many tokens", 'raise TypeError("too many tokens")', False),
        ("It writes into `x`, which belongs to the caller.", "", False),
    ],
)
def test_a_refusal_in_other_words_is_the_same_where_the_learner_raises_it(problem, place, alike):
    assert agree(BARE, Outcome(None, problem, LINE + place), 1e-5) is alike


def test_an_error_with_words_is_the_same_only_with_these():
    known = Outcome(None, "It raises ValueError: a known one")
    assert not agree(
        known, Outcome(None, "It raises ValueError: another", LINE + "raise ValueError(x)"), 1e-5
    )
    assert agree(known, Outcome(None, known.problem), 1e-5)


def test_values_are_compared_and_are_like_no_error():
    one, other = Outcome({"result": torch.ones(2)}), Outcome({"result": torch.zeros(2)})
    assert agree(one, one, 1e-5) and not agree(one, other, 1e-5) and not agree(BARE, one, 1e-5)
