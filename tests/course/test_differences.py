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
