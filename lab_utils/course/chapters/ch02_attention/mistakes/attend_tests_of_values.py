"""More tests that cannot tell, of test_sound_attend, of notebook 02: with their values the fault does not show."""

import torch

from lab_utils.course.chapters.ch02_attention.mistakes.attend_tests import close, draw
from lab_utils.course.exercise import mistake


@mistake(
    "It refuses a piece that sees the future, and passes for the values themselves and for the negative: it asks only "
    "which outputs change with a later value. In the piece above the right ones do.",
    "Which number of the output is wrong although no future value has a part in it?",
)
def attend_test_of_a_later_value(attend):
    q, k, v = draw()
    other = v.clone()
    other[..., -1, :] += 10
    before, after = attend(q, k, v, 0.5), attend(q, k, other, 0.5)
    assert close(before[..., :-1, :], after[..., :-1, :])
    assert not close(before[..., -1:, :], after[..., -1:, :])


@mistake(
    "It passes for the values themselves, and for ones: its values are all 1, and it looks at a sum or mean over the "
    "queries. That is right where the weights of every key add up to 1, as in the piece above.",
    "Whose weights must add up to 1, and which single output shows that they do not?",
)
def attend_test_of_the_mean_of_ones(attend):
    q, k, _ = draw()
    assert abs(attend(q, k, torch.ones(1, 1, 4, 1), 0.5).mean().item() - 1) < 1e-4


ATTEND_TESTS_OF_VALUES = (attend_test_of_a_later_value, attend_test_of_the_mean_of_ones)
