"""What a log is summed up to: waiting time, dead experts and largest logits, worked out by hand."""

import pytest
import torch

from lab_utils.study import logged
from lab_utils.study.logged import summarise, waiting_share
from nanokimi.router import max_violation

EVEN, ONE = [1.0] * 16, [16.0] + [0.0] * 15


def step(load=(), max_vio=(), logits=None) -> dict:
    return {"expert_load": list(load), "max_vio": list(max_vio), "max_qk_logit": logits}


@pytest.mark.parametrize(
    ("load", "n_ranks", "share"),
    [
        (EVEN, 4, 0.0),
        (ONE, 4, 3.0),  # the first rank has four times its share
        (ONE, 16, 15.0),
        ([2.0, 0.0, 0.0, 2.0], 2, 0.0),  # uneven experts, and even ranks
        ([3.0, 1.0, 1.0, 1.0], 2, 1 / 3),  # 4 rows against 3
    ],
)
def test_ranks_wait_for_the_fullest_of_them(load, n_ranks, share):
    assert waiting_share(load, n_ranks) == pytest.approx(share)


def test_with_an_expert_per_rank_waiting_is_the_largest_violation():
    load = [0.5, 2.5, 0.25, 0.75]
    assert waiting_share(load, 4) == pytest.approx(max_violation(torch.tensor(load)))


def test_waiting_is_the_mean_of_steps_and_layers_and_of_the_ranks_that_divide_the_experts():
    found = summarise([step([EVEN, ONE], [0.0, 15.0]), step([EVEN, EVEN], [0.0, 0.0])])
    assert found.waiting == {4: pytest.approx(3 / 4), 16: pytest.approx(15 / 4)}
    assert found.max_vio == (7.5, 0.0)
    assert summarise([step([[1.0] * 4], [0.0])]).waiting == {4: 0.0}


def test_dead_experts_are_counted_in_the_last_tenth():
    """Of 20 steps the last two count. Two experts of the second layer are dead in them, so one per layer."""
    before = [step([ONE, ONE], [15.0, 15.0])] * 18
    last = [step([EVEN, [0.05, 0.0, *[1.0] * 14]], [0.0, 0.0])] * 2
    assert summarise([*before, *last]).dead == 1.0


def test_a_series_has_a_number_per_stretch(monkeypatch):
    monkeypatch.setattr(logged, "STRETCHES", 2)
    logits = [[[1.0, 2.0], [3.0, 0.0]], [[9.0, 2.0], [3.0, 0.0]], [[1.0, 1.0], [1.0, 4.0]]]
    found = summarise([step(logits=each) for each in logits])
    assert (found.steps, found.largest_logit) == ((2, 3), (9.0, 4.0))
    assert (found.max_vio, found.waiting, found.dead) == ((), {}, 0.0)
    assert summarise([step()]).largest_logit is None
