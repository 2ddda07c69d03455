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


@pytest.mark.parametrize(
    ("right", "got", "says"),
    [
        ([1, 9, 3], [1, 7, 4], "At [1], it is 7; it should be 9."),
        ([0.5, 1.0], [0.5, None], "At [1], it is nothing; it should be a Python number."),
        ([1, [2, 3]], [1, [2, 4]], "At [1], at [1], it is 4; it should be 3."),
        ([torch.zeros(2)], [torch.zeros(3)], "At [0], its shape is (3,); it should be (2,)."),
        ([1, 2], [1], "It has 1 entry; it should have 2."),
    ],
)
def test_of_a_list_the_first_place_that_differs_is_named(right, got, says):
    assert explain_difference(right, got, 1e-6) == says


@pytest.mark.parametrize("got", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("right", [torch.int64, torch.int32])
def test_counts_should_be_whole_numbers(right, got):
    says = explain_difference(torch.ones(2, dtype=right), torch.ones(2, dtype=got), 1e-6)
    assert "; they should be whole ones, as in int" in says
