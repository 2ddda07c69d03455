"""Tests for the hunts of notebook 10 that cannot tell get the name of their mistake."""

import pytest
import torch

from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def asks_for_the_last_of_equals(next_token_probs):
    z = torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0])
    best = z.argsort(stable=True)[-3:]
    right = torch.zeros(5).index_put((best,), z[best].softmax(dim=0))
    assert torch.allclose(next_token_probs(z, top_k=3), right, atol=1e-5)


def asks_for_enough_tokens(next_token_probs):
    for k in (1, 2, 3):
        found = next_token_probs(torch.tensor([1.0, 1.0, 1.0, 1.0, -2.0]), top_k=k)
        assert (found > 0).sum() >= k and abs(found.sum().item() - 1.0) < 1e-5


NAMED = [
    (asks_for_the_last_of_equals, "top_k_test_of_the_higher_ids"),
    (asks_for_enough_tokens, "top_k_test_of_at_least_k_and_the_sum"),
]


@pytest.mark.parametrize(("answer", "mistake"), NAMED, ids=[each[1] for each in NAMED])
def test_a_test_that_cannot_tell_is_named(answer, mistake):
    result = judge_answer("test_sound_top_k", answer)
    assert [each.name for each in result.diagnoses] == [mistake], result
