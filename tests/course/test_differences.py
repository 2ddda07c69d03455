"""When two values count as equal, and what is said where they do not."""

import pytest
import torch

from lab_utils.course.differences import explain_difference


@pytest.mark.parametrize(
    ("right", "got", "same"),
    [
        (1.0, 1.0 + 1e-7, True),
        (1.0, 1.1, False),
        (1, True, False),
        (True, True, True),
        ("a", "b", False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        ([1, 2], (1, 2), False),
        (torch.tensor([torch.inf]), torch.tensor([torch.inf]), True),
        (torch.tensor([1 + 2j]), torch.tensor([1 - 2j]), False),
        (torch.tensor(3), torch.tensor(4), False),
    ],
)
def test_a_sentence_only_where_they_differ(right, got, same):
    assert (explain_difference(right, got, 1e-5) == "") is same


@pytest.mark.parametrize(
    ("right", "got", "says"),
    [
        (-1.005, -1.00502, "It is -1.00502; it should be -1.005."),
        (1.0, 1.5, "It is 1.5; it should be 1."),
        (torch.tensor(-1.005), torch.tensor(-1.00503), "It is -1.00503; it should be -1.005."),
        (
            torch.tensor([0.0, 123456.0]),
            torch.tensor([0.0, 123459.0]),
            "1 of 2 entries differs, the first at [1]: 123459 instead of 123456.",
        ),
        (torch.tensor([3]), torch.tensor([4]), "1 of 1 entry differs, the first at [0]: 4 instead of 3."),
    ],
)
def test_numbers_have_as_many_digits_as_they_need_to_differ(right, got, says):
    assert explain_difference(right, got, 1e-6) == says
