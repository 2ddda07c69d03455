"""An answer that returns its results in another order is told so: in every exercise with several, for every order."""

import itertools
import re
from typing import Any

import pytest
import torch

from lab_utils.course.calls import Watch
from lab_utils.course.chapters import find
from lab_utils.course.judgement import panel_text
from nanokimi.moe import MoE
from tests.course.keys import judge_answer

# How many results each exercise returns; SequenceCache as many as it is given.
RESULTS = {
    "merge_most_frequent": 2,
    "windows": 3,
    "topk_route": 4,
    "expand_latent": 2,
    "MultiHeadLatentAttention": 2,
    "MoE": 2,
    "KimiBlock": 3,
    "Kimi": 3,
    "SequenceCache": 2,
    "regroup": 2,
}
SLOW = {"MultiHeadLatentAttention", "KimiBlock", "Kimi"}
TOLD = re.compile(
    r"in each other's place|they stand in the order|exchanged|swapped|changed places|wrong order|comes first"
)


def in_order(answer: Any, order: tuple[int, ...]) -> Any:
    """The answer, with its tuples of so many values in another order."""

    def put(method: str, value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(order):
            return value
        values = [value[place] for place in order]
        return type(value)(*values) if hasattr(value, "_fields") else tuple(values)

    return Watch(change=put).of(answer)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in RESULTS])
def test_an_answer_in_another_order_is_told_so(name):
    orders = list(itertools.permutations(range(RESULTS[name])))[1:]
    for order in orders[:: max(1, len(orders) // 4)]:
        says = panel_text(judge_answer(name, in_order(find(name).core, order)))
        assert TOLD.search(says), (order, says)


class Swapped(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return stats, y


def test_two_values_of_different_kinds_are_exchanged():
    result = judge_answer("MoE", Swapped)
    assert result.difference.says.startswith("forward returns a RouterStats for `value 0`")
    assert result.beside == (
        "The first and the second value that forward returns are in each other's place: exchanged, they are right "
        "on every input."
    )


def test_of_three_values_the_order_is_told_as_they_stand():
    says = repr(judge_answer("windows", in_order(find("windows").core, (1, 2, 0))))
    assert (
        "The values that it returns are right on every input, but they stand in the order second, third, first."
        in says
    )


def test_fields_are_named():
    says = repr(judge_answer("topk_route", in_order(find("topk_route").core, (0, 2, 1, 3))))
    assert "`scores` and `expert_idx`, which it returns, are in each other's place" in says


class SwappedAndWrong(MoE):
    def forward(self, x):
        y, stats = super().forward(x)
        return stats, y + (x.shape[1] > 1)


def expand_with_other_values(latent, k_rope, expand_k, expand_v):
    keys, values = find("expand_latent").core(latent, k_rope, expand_k, expand_v)
    return keys, torch.zeros_like(values) + keys.sum()


@pytest.mark.parametrize(
    ("name", "answer"), [("MoE", SwappedAndWrong), ("expand_latent", expand_with_other_values)]
)
def test_where_another_order_is_not_right_everywhere_none_is_told(name, answer):
    assert not TOLD.search(repr(judge_answer(name, answer)))
