"""Rows of the table against values worked out by hand on made-up results."""

from dataclasses import replace

import pytest

from lab_utils.bench.compare import Spread, first_reach, interpolate, step_ratio, table_rows, tokens_to
from tests.bench.made_up_results import arm, results, run, three_seeds

# ---------------------------------------------------------------- curves


@pytest.mark.parametrize(
    ("x", "y"),
    [(10, 5.0), (15, 4.5), (20, 4.0), (25, 3.75), (30, 3.5), (9.9, None), (30.1, None)],
)
def test_interpolation_is_linear_and_never_leaves_the_measured_range(x, y):
    assert interpolate([10, 20, 30], [5.0, 4.0, 3.5], x) == y


def test_interpolation_of_one_point():
    assert interpolate([10], [5.0], 10) == 5.0
    assert interpolate([10], [5.0], 11) is None


@pytest.mark.parametrize(
    ("target", "x"),
    [
        (4.5, 15.0),  # half way down the first stretch
        (4.0, 20.0),  # exactly at an evaluation
        (3.9, 22.0),  # a fifth of the way from 4.0 to 3.5
        (3.5, 30.0),
        (3.4, None),
        (5.0, 10.0),  # there from the start
        (6.0, 10.0),
    ],
)
def test_first_reach(target, x):
    found = first_reach([10, 20, 30], [5.0, 4.0, 3.5], target)
    assert found == (None if x is None else pytest.approx(x, abs=1e-9))


def test_first_reach_takes_the_first_crossing_of_a_curve_that_rises_again():
    assert first_reach([10, 20, 30, 40], [5.0, 3.0, 4.0, 2.0], 3.5) == 17.5


def test_tokens_to_counts_tokens():
    assert tokens_to(run("kimi", 0, {20: 6.0, 40: 4.0}), 5.0) == 3000.0


# ---------------------------------------------------------------- the table


def test_row_by_hand():
    gpt, kimi = table_rows(three_seeds())
    assert (gpt.arm, kimi.arm) == ("gpt", "kimi")
    assert kimi.loss == Spread(pytest.approx(3.1), 3.0, 3.2, 3)
    assert kimi.bits_per_byte == Spread(pytest.approx(1.55), 1.5, 1.6, 3)
    assert kimi.floor == 0.25
    # A step has 100 tokens and takes 2 s: 50 tokens per second, 80 s for 40 steps.
    assert kimi.tokens_per_s == 50.0
    assert kimi.seconds == 80.0
    # From 6.0 at 2,000 tokens to 3.0 at 4,000: 4.0 at 2,000 + 2,000 · 2/3; likewise the other seeds.
    by_hand = [2000 + 2000 * (6 - g) / (6 - k) for g, k in ((4.0, 3.0), (4.1, 3.1), (4.2, 3.2))]
    mean = sum(by_hand) / 3
    assert kimi.tokens_to_target == Spread(
        pytest.approx(mean), pytest.approx(min(by_hand)), pytest.approx(max(by_hand)), 3
    )
    assert kimi.seconds_to_target.mean == pytest.approx(mean / 50)
    assert kimi.share_to_target == pytest.approx(mean / 4000)
    assert gpt.tokens_to_target.mean == pytest.approx(4000)
    assert gpt.seconds_to_target.mean == pytest.approx(40)
    assert kimi.peak_memory.mean == 600 * 10**6


def test_target_is_gpts_loss_of_the_same_seed():
    # Only seed 0 reaches its own GPT's 4.0; seed 1 would reach 5.0, the other seed's.
    made = results(
        [
            run("gpt", 0, {20: 6.0, 40: 5.0}),
            run("gpt", 1, {20: 6.0, 40: 3.0}),
            run("kimi", 0, {20: 6.0, 40: 4.0}),
            run("kimi", 1, {20: 6.0, 40: 4.0}),
        ],
        seeds=2,
    )
    kimi = table_rows(made)[1]
    assert (kimi.tokens_to_target.n, kimi.n_seeds) == (1, 2)
    assert kimi.tokens_to_target.mean == 3000.0


def test_never_reached():
    kimi = table_rows(three_seeds(kimi=(5.0, 5.0, 5.0)))[1]
    assert kimi.tokens_to_target is kimi.seconds_to_target is kimi.share_to_target is None


def test_unfinished_runs_are_left_out():
    made = three_seeds()
    stopped = replace(made.runs[-1], points=made.runs[-1].points[:1])
    kimi = table_rows(replace(made, runs=(*made.runs[:-1], stopped)))[1]
    assert kimi.n_seeds == 2
    assert kimi.loss.mean == pytest.approx(3.05)


def test_without_gpt_and_without_timing_the_cells_are_empty():
    made = results([run("kimi", 0, {40: 3.0}, peak_memory=None)], [arm("kimi", ())], seeds=1)
    (row,) = table_rows(made)
    assert (
        row.tokens_per_s is row.seconds is row.tokens_to_target is row.peak_memory is row.step_ratio is None
    )


def test_step_ratio_is_taken_round_by_round():
    # Ratios 2, 1, 3, 2, 2: median 2, quartiles (second and fourth of the sorted five) 2 and 2.
    gpt = arm("gpt", (1.0, 2.0, 1.0, 4.0, 1.0))
    kimi = arm("kimi", (2.0, 2.0, 3.0, 8.0, 2.0))
    assert step_ratio(kimi, gpt) == Spread(2.0, 2.0, 2.0, 5)
    assert step_ratio(arm("kimi", (1.0, 2.0, 3.0, 16.0, 5.0)), gpt) == Spread(3.0, 1.0, 4.0, 5)
    assert step_ratio(kimi, None) is None
    assert step_ratio(arm("kimi", (2.0,)), gpt) is None
