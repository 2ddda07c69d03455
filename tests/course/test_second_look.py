"""The second look at a diagnosed test: whoever asks for something else than a known weak test is not called like it."""

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.second_look import ALTERED, find_sound, still_alike
from tests.course.keys import judge_answer, key_of


def of_a_k_that_cuts_nothing(next_token_probs):
    """It lets the same pieces through as a test that asks only for a sum of 1, and asks for more."""
    probs = next_token_probs(torch.ones(5), top_k=5)
    assert (probs > 0).sum() == 5
    assert torch.allclose(probs, torch.full((5,), 0.2), atol=1e-6)


def of_the_sum_alone(next_token_probs):
    probs = next_token_probs(torch.ones(5), top_k=5)
    assert (probs > 0).sum() >= 5
    assert abs(probs.sum().item() - 1) < 1e-6


def test_a_test_that_asks_for_more_is_not_called_like_the_weak_one():
    assert judge_answer("test_sound_top_k", of_a_k_that_cuts_nothing).diagnoses == ()


def test_a_test_that_asks_for_the_same_still_is():
    (known,) = judge_answer("test_sound_top_k", of_the_sum_alone).diagnoses
    assert "a sum of 1" in known.says


def test_a_known_weak_test_is_like_itself_and_not_like_the_sound_one():
    exercise, key = find("test_sound_top_k"), key_of("test_sound_top_k")
    sound, known = find_sound(key.cases, key.expected), exercise.mistakes[:6]
    assert key.expected(key.cases.index(sound)) == {"the test": "passes"}
    for each in known:
        assert each in still_alike(exercise, sound, each.wrong, known, 10.0)
    assert still_alike(exercise, sound, exercise.core, known, 10.0) == ()


@pytest.mark.parametrize("alter", ALTERED, ids=lambda alter: alter.__name__)
def test_every_alteration_is_another_piece_and_keeps_its_shape(alter):
    out = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], requires_grad=True)
    altered = alter(out)
    assert altered.shape == out.shape and altered.dtype == out.dtype
    assert altered.requires_grad is False or not torch.equal(altered, out)
    for odd in (torch.tensor(2.0), torch.zeros(0, 3), torch.tensor([[True, False]]), torch.tensor([3, 4])):
        assert alter(odd).shape == odd.shape and alter(odd).dtype == odd.dtype


def test_a_tilted_row_keeps_its_sum():
    out = torch.tensor([[0.1, 0.2, 0.7], [1.0, -1.0, 0.0]])
    tilted = next(alter for alter in ALTERED if alter.__name__ == "tilt")(out)
    assert tilted[0].sum().item() == pytest.approx(1.0)
    assert tilted[1].tolist() == pytest.approx(
        [0.5, -1.0, 0.0]
    )  # where the sum is 0 nothing is shared out again
