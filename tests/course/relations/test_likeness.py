"""How a wrong value is related to the right one: a clause for each relation, and none by accident."""

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.relations.likeness import liken
from lab_utils.course.relations.pairs import Pair


def pairs(of, *shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [Pair(right, of(right)) for right in rights]


CLAUSES = [
    (lambda x: 3 * x, "every number is 3 times what it should be"),
    (lambda x: x + 0.5, "every number is 0.5 too large"),
    (lambda x: x**2, "every number is the square of what it should be"),
    (torch.exp, "every number is e to the power of what it should be"),
    (torch.abs, "the sign of every number is lost"),
    (torch.relu, "negative numbers are 0, and all others right"),
    (lambda x: x.softmax(-1), "it is the softmax of what it should be"),
    (lambda x: x.roll(1, 0), "the right numbers stand one place too late along the first axis, the last one first"),
    (lambda x: x * 0, "every number is 0"),
    (lambda x: x.sum(-1), "it is the sum of the right numbers along the last axis"),
    (lambda x: x.mean(0, keepdim=True), "it is the mean of the right numbers along the first axis"),
    (lambda x: x[:-1], "only the beginning of the right result is there along the first axis"),
    (lambda x: torch.cat([x, x]), "after the right numbers come others along the first axis"),
    (lambda x: F.normalize(x, dim=-1), "apart from one factor, the numbers along the last axis are right; "
     "they have the length 1, and should not"),
    (lambda x: torch.cat([x[:-1], x[-1:] + x[-1:].cos()]), "only the last place along the first axis is wrong"),
    (lambda x: torch.where(x < 0, x.cos(), x), "all numbers are wrong that should be negative, and no others"),
    (lambda x: x * torch.nan, "every number is nan"),
    (lambda x: x.float().bfloat16(), None),
    (lambda x: torch.sin(7 * x) + x[:1], None),
]  # fmt: skip


@pytest.mark.parametrize(("of", "says"), CLAUSES, ids=[str(i) for i in range(len(CLAUSES))])
def test_a_clause_for_each_relation(of, says):
    found = liken(pairs(of, (4, 5), (6, 3)))
    assert found == says if says else not found or "format" in found


@pytest.mark.parametrize(
    "shapes", [((2,), (1,)), ((1,), (1,), (1,)), ((3, 2), (2, 2)), ((2, 3, 4), (5, 2, 3))]
)
def test_no_relation_by_accident(shapes):
    """Numbers that have nothing to do with each other: no exact relation may be said to hold."""
    generator = torch.Generator().manual_seed(1)
    for seed in range(12):
        found = liken(pairs(lambda x: torch.randn(x.shape, generator=generator).double(), *shapes, seed=seed))
        assert not found or found.startswith("every wrong number is too"), found


def test_few_whole_numbers_prove_nothing():
    found = liken(
        [Pair(torch.tensor([1, 0]), torch.tensor([2, 0])), Pair(torch.tensor([0, 1]), torch.tensor([0, 2]))]
    )
    assert found == ""


def test_all_others_are_wrong_means_every_entry_of_them():
    """A right row among the others, or right entries in them, and the sentence is not said."""

    def hidden(*rows):
        wrong = torch.zeros(4, 5, dtype=torch.float64)
        wrong[list(rows)] = torch.rand(len(rows), 5, generator=torch.Generator().manual_seed(2)).double() + 1
        return wrong

    def partly(x):
        wrong = hidden(0, 1, 2)
        wrong[1, 2] = 0
        return x + wrong

    says = "the last place along the first axis is right, and all others are wrong"
    assert liken(pairs(lambda x: x + hidden(0, 1, 2), (4, 5))) == says
    assert liken(pairs(partly, (4, 5))) != says
    assert liken(pairs(lambda x: x + hidden(0, 2), (4, 5))) != says


def test_a_lost_part_is_no_wrong_length():
    """The first two columns are 0 and the others right: one factor for each column, which says nothing."""
    assert "factor" not in liken(pairs(lambda x: x * (torch.arange(5) > 1), (4, 5)))


def test_lists_of_tensors_in_another_order():
    a, b, c = torch.ones(2), torch.zeros(3), torch.full((2,), 5.0)
    assert liken([Pair([a, b, c], [c, b, a])]) == "the right entries stand in the opposite order"
    assert liken([Pair([a, b, c], [b, a, c])]) == "the right entries stand in another order"
    assert liken([Pair([a, b, c], [a, a, c])]) == ""


def test_letters_of_a_text_are_no_entries():
    """Two texts where one begins like the other: what is an entry of a list is none of a text."""
    assert liken([Pair("decay 0.0", "decay 0"), Pair("rate 1.5, decay 0.0", "rate 1.5, decay 0")]) == ""
    assert liken([Pair("cab", "ab"), Pair("cabs", "abs")]) == ""
    assert liken([Pair([1, 2, 3], [1, 2]), Pair([4, 5], [4])]) != ""
    assert liken([Pair("float32", "bfloat16")]) == "'bfloat16' comes where 'float32' should"
    assert liken([Pair("a" * 80, "b" * 80)]) == ""  # the panel shows both whole


def test_rounding_is_said_of_numbers_of_a_shorter_format_alone():
    right = torch.linspace(0.1, 3.0, 40, dtype=torch.float64).sqrt()
    assert "few digits of bfloat16" in liken([Pair(right, right.bfloat16().double())])
    assert "rounded" not in liken(
        [Pair(right, right * (1 + 1e-4 * torch.linspace(-1, 1, 40, dtype=torch.float64)))]
    )


def test_a_factor_that_rounds_to_one_is_not_said():
    assert "factor" not in liken(
        [
            Pair(torch.tensor([1.0, 2.0, 3.5, 4.0]), torch.tensor([1.0, 2.0, 3.5, 4.0])),
            Pair(torch.tensor([1.0, 2.0, 3.5, 4.0]), torch.tensor([2.0, 4.0, 7.0, 8.0])),
        ]
    )


SIZES = [{"n": 2, "k": 3}, {"n": 5, "k": 2}, {"n": 3, "k": 4}, {"n": 7, "k": 4}]


@pytest.mark.parametrize(
    ("of", "sizes", "says"),
    [
        (lambda n, k: n * k, SIZES, "every number is `k` · `n` times what it should be"),
        (lambda n, k: n / k, SIZES, "every number is `n`/`k` times what it should be"),
        (lambda n, k: n * k, SIZES[:2], ""),  # two inputs prove nothing
        (lambda n, k: n + k, SIZES, ""),
        # m/l is the same here: neither is named.
        (
            lambda n, k: n * k,
            [its | {"m": its["n"] * its["k"] * (i + 1), "l": i + 1} for i, its in enumerate(SIZES)],
            "",
        ),
    ],
)
def test_a_factor_of_two_sizes(of, sizes, says):
    found = liken([Pair(1.5 + i, (1.5 + i) * of(**_both(its)), its) for i, its in enumerate(sizes)])
    assert found == says


def _both(sizes):
    return {name: sizes[name] for name in ("n", "k")}
