"""Weak tests with different causes have different names, and none is told what it does not do."""

from collections.abc import Callable

import pytest
import torch

from lab_utils.course import probes
from lab_utils.course.chapters import find
from lab_utils.course.chapters.ch02_attention.mistakes import decoding_tests
from lab_utils.course.chapters.ch03_experts.mistakes import dispatch_tests
from lab_utils.course.chapters.ch04_routing.mistakes import capacity_tests, loss_tests
from lab_utils.course.judge import judge
from tests.course.keys import key_of


def names(exercise: str, test: Callable) -> list[str]:
    """What the mistakes are called that this test may have made."""
    result = judge(find(exercise), test, key=key_of(exercise))
    assert result.status == "failed"
    return [known.name for known in result.diagnoses]


def decodes_alike_twice(step):
    q, k, v = decoding_tests.draw(4)
    assert torch.equal(decoding_tests.decode(step, q, k, v), decoding_tests.decode(step, q, k, v))


def counts_with_a_high_limit(dispatch):
    assert sum(dispatch_tests.rows_of_calls(dispatch, *dispatch_tests.layer())) <= 24


def doubles_the_weights(dispatch):
    x, idx, weights, bank = dispatch_tests.layer()
    assert torch.allclose(dispatch(x, idx, 2 * weights, bank), 2 * dispatch(x, idx, weights, bank), atol=1e-4)


def looks_at_the_first_half(dispatch):
    layer = capacity_tests.layer(torch.zeros(20, 1, dtype=torch.long))
    assert capacity_tests.close(dispatch(*layer)[:5], capacity_tests.by_hand(*layer)[:5])


def takes_one_token(dispatch):
    layer = capacity_tests.layer(torch.zeros(1, 1, dtype=torch.long), weight=1.0)
    assert capacity_tests.close(dispatch(*layer), capacity_tests.by_hand(*layer))


def chooses_every_expert(loss):
    stats = loss_tests.stats_of(torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(3)), None)
    assert loss_tests.close(loss(stats._replace(expert_idx=torch.arange(3).expand(1, 6, 3))), 1)


def forgets_the_factor(loss):
    assert loss_tests.close(loss(loss_tests.some()), loss_tests.loss_by_formula(loss_tests.some()) / 4)


@pytest.mark.parametrize(
    ("exercise", "test", "name"),
    [
        ("test_sound_decoding", decodes_alike_twice, "decoding_test_of_repetition"),
        ("test_sound_dispatch", counts_with_a_high_limit, "chosen_test_without_idle_experts"),
        ("test_sound_dispatch", doubles_the_weights, None),
        ("test_sound_capacity", looks_at_the_first_half, "capacity_test_of_the_first_tokens"),
        ("test_sound_capacity", takes_one_token, "capacity_test_of_one_token"),
        ("test_sound_loss", chooses_every_expert, "loss_test_of_all_chosen"),
        ("test_sound_loss", forgets_the_factor, "loss_test_without_the_factor"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_weak_test_is_named_after_its_cause(exercise, test, name):
    assert names(exercise, test) == ([name] if name else [])


def test_the_pieces_that_probe_do_what_they_are_called():
    one = torch.ones(2, 3)
    (wide,), (waver,) = (make(lambda: one.clone()).args for make in (probes.widened, probes.wavering))
    assert wide().shape == (2, 4)
    calls = [waver()[0, 0].item() for _ in range(5)]
    assert len(set(calls)) == 5 and 1.0 not in calls


def test_a_wavering_piece_is_the_same_for_every_answer():
    """What is said of one answer may not depend on those that were judged before it."""
    case = probes.wavering(lambda: torch.ones(1))
    for _ in range(2):
        (waver,) = case.fresh_args()
        assert [round(waver().item(), 1) for _ in range(3)] == [2.3, 2.7, 3.1]


def test_a_shifted_piece_is_off_by_a_little():
    one = torch.ones(2, 3)
    (shift,) = probes.shifted(lambda: one.clone()).args
    assert torch.allclose(shift(), one + 0.02)
