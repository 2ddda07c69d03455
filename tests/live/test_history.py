"""What the panel remembers of a training, by hand."""

import numpy as np
import pytest

from lab_utils.live.history import Thinned, describe_intervention, write_duration
from nanokimi.steering import Intervention
from tests.live.made_up_runs import history, record


def test_a_thinned_series_keeps_means_and_stays_small():
    series = Thinned(capacity=4)
    for i in range(7):
        series.add([i, 10 * i])
    # 0 1 2 3 fill it: 0.5 and 2.5 remain, in runs of two; then 4.5, and 6 by itself.
    assert series.rows().tolist() == [[0.5, 5], [2.5, 25], [4.5, 45], [6, 60]]
    for i in range(7, 10_000):
        series.add([i, 10 * i])
    rows = series.rows()
    assert len(rows) <= 4 and rows[:, 1] == pytest.approx(10 * rows[:, 0])
    assert (np.diff(rows[:, 0]) > 0).all()


def test_a_history_gives_its_curves_back():
    made = history(record(1), record(2, load=((1.0, 1.0), (0.5, 1.5))))
    assert made.x("tokens").tolist() == [100, 200] and made.x("seconds").tolist() == [2, 4]
    assert made.curve("loss").tolist() == [3, 2]
    assert made.curve("max_vio", 0).tolist() == [1, 0] and made.curve("max_vio", 1).tolist() == [0, 0.5]
    assert made.curve("router_entropy", 1).tolist() == [0.7, 0.7]
    assert made.load().tolist() == [[1.5, 0.5], [0.75, 1.25]]
    assert [(step, load.tolist()) for step, load in made.frames(5)] == [
        (1, [[2, 0], [1, 1]]),
        (2, [[1, 1], [0.5, 1.5]]),
    ]
    assert made.seconds_left() == 8 * 100 / 50


def test_compiling_is_added_up_and_in_no_other_time():
    made = history(record(1, compile_seconds=40.0), record(2), record(3, compile_seconds=2.0))
    assert made.compile_seconds == 42
    assert made.x("seconds").tolist() == [2, 4, 6] and made.seconds_left() == 7 * 100 / 50


def test_frames_are_few_and_hold_both_ends():
    made = history(*(record(step) for step in range(1, 101)))
    # The middle of 100 rows lies between the 50th and the 51st; numpy rounds a half to the even index, 50.
    assert [step for step, _ in made.frames(3)] == [1, 51, 100]
    assert len(made.frames(1000)) == 100


def test_time_left_goes_by_the_median_step():
    made = history(*(record(step, tokens_per_s=1.0 if step == 3 else 50.0) for step in range(1, 6)))
    assert made.seconds_left() == 5 * 100 / 50


def test_the_share_is_that_of_the_recent_steps():
    old = [record(step, load=((9.0, 9.0), (9.0, 9.0))) for step in range(1, 11)]
    made = history(*old, *(record(step) for step in range(11, 21)))
    assert made.load().tolist() == [[2, 0], [1, 1]]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_time_in_words(seconds, words):
    assert write_duration(seconds) == words


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("lr_factor", 0.5, "learning rate × 0.5"),
        ("bias_update_rate", 0.0, "bias update off"),
        ("switch_coef", 0.01, "load-balance loss 0.01"),
        ("inference_top_k", 3, "top-k at inference 3"),
        ("inference_top_k", None, "top-k at inference as in training"),
        ("frozen_experts", ((1, 3), (2, 0)), "frozen experts: 1:3, 2:0"),
        ("frozen_experts", (), "no expert frozen"),
    ],
)
def test_interventions_in_words(what, value, words):
    assert describe_intervention(Intervention(1, what, value)) == words
