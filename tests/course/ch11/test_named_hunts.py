"""Tests for the hunts of notebook 11 that cannot tell get the name of their mistake."""

import pytest
import torch

from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def asks_with_equal_ranks(clip_over_ranks):
    gradients = torch.tensor([3.0, 4.0, 12.0]).repeat(4, 1)
    mean = gradients.mean(dim=0)
    assert torch.allclose(clip_over_ranks(gradients, 1.0), mean / mean.norm(), atol=1e-5)
    assert torch.allclose(clip_over_ranks(gradients, 100.0), mean, atol=1e-5)


def asks_with_a_rank_for_each_expert(exchange):
    bank, generator = ExpertBank(4, 8, 16), torch.Generator().manual_seed(0)
    for p in bank.parameters():
        torch.nn.init.normal_(p, generator=generator)
    x, weights = torch.randn(12, 8, generator=generator), torch.rand(12, 2, generator=generator)
    idx = torch.rand(12, 4, generator=generator).topk(2, dim=-1).indices
    right = dispatch(x, idx, weights, bank)
    assert torch.allclose(exchange(x, idx, weights, bank, 4), right, rtol=1e-3, atol=1e-3)


NAMED = [
    ("test_sound_clipping", asks_with_equal_ranks, "clipping_test_of_equal_ranks_below_the_bound_too"),
    (
        "test_sound_exchange",
        asks_with_a_rank_for_each_expert,
        "exchange_test_of_two_choices_and_a_rank_for_each_expert",
    ),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_test_that_cannot_tell_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result
