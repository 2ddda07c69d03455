"""Verdicts, the ladder and fairness against values worked out by hand on made-up results."""

from dataclasses import replace
from itertools import pairwise

import pytest

from lab_utils.bench.verdicts import (
    Pair,
    compare_arms,
    equal_memory,
    fairness,
    ladder,
    not_trained,
    optimizer_or_architecture,
    verdicts,
)
from tests.bench.made_up_results import arm, results, run, three_seeds


def equal_tokens(made):
    return next(v for v in verdicts(made) if v.question == "Equal tokens")


def test_a_clear_win():
    verdict = equal_tokens(three_seeds())
    assert verdict.winner == "kimi"
    assert verdict.mean == pytest.approx(-1.0)
    assert verdict.spread == pytest.approx(0.2)
    assert verdict.pairs == (Pair(0, 4.0, 3.0), Pair(1, 4.1, 3.1), Pair(2, 4.2, 3.2))


def test_a_clear_loss_is_said_as_plainly():
    verdict = equal_tokens(three_seeds(kimi=(5.0, 5.1, 5.2)))
    assert verdict.winner == "gpt"
    assert verdict.mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kimi", "why"),
    [
        ((3.9, 4.0, 4.3), "lower with 2 of 3 seeds"),  # one seed disagrees
        ((3.0, 3.1, 4.2), "lower with 2 of 3 seeds"),  # a tie is no agreement
        ((4.0, 4.1, 4.2), "lower with 0 of 3 seeds"),  # ties everywhere
        ((3.75, 3.9, 4.0), "does not exceed the spread"),  # -0.217 against a spread of 0.25 (Kimi's)
        ((3.95, 4.05, 4.15), "does not exceed the spread"),  # -0.05 against 0.2 (GPT's)
    ],
)
def test_undecided(kimi, why):
    verdict = equal_tokens(three_seeds(kimi=kimi))
    assert (verdict.answer, verdict.winner) == ("undecided", None)
    assert why in verdict.reason


def test_a_difference_equal_to_the_spread_is_undecided():
    verdict = equal_tokens(three_seeds(kimi=(3.5, 3.5, 3.5), gpt=(3.75, 4.0, 4.25)))
    assert (verdict.mean, verdict.spread) == (-0.5, 0.5)
    assert verdict.answer == "undecided"


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_seeds_show_numbers_and_conclude_nothing(n):
    made = three_seeds()
    few = replace(made, seeds=made.seeds[:n])
    for verdict in verdicts(few):
        assert (verdict.answer, verdict.winner) == ("no conclusion", None)
        assert "3 needed" in verdict.reason
        assert len(verdict.pairs) == n


@pytest.mark.parametrize("index", range(6))
def test_a_missing_run_forbids_every_conclusion(index):
    made = three_seeds()
    gone = made.runs[index]
    made = replace(made, runs=made.runs[:index] + made.runs[index + 1 :])
    for verdict in verdicts(made):
        assert verdict.answer == "no conclusion"
        assert f"{gone.arm} with seed {gone.seed}" in verdict.reason


def test_a_stopped_run_counts_as_missing():
    made = three_seeds()
    stopped = replace(made.runs[4], points=made.runs[4].points[:1])
    made = replace(made, runs=(*made.runs[:4], stopped, made.runs[5]))
    assert equal_tokens(made).reason == "kimi with seed 1 did not finish"


@pytest.mark.parametrize("only", ["gpt", "kimi"])
def test_one_arm_alone_has_no_verdict(only):
    made = results([run(only, seed, {40: 3.0}) for seed in range(3)], [arm(only)])
    assert verdicts(made) == []
    absent = {"gpt": "kimi", "kimi": "gpt"}[only]
    assert not_trained(made) == f"needs gpt and kimi; {absent} was not trained"
    assert not_trained(three_seeds()) == ""
    assert ladder(made) == optimizer_or_architecture(made) == []


def test_different_batches_forbid_a_conclusion():
    made = three_seeds()
    other = replace(made.runs[3], batch_digest="something else")
    made = replace(made, runs=(*made.runs[:3], other, *made.runs[4:]))
    assert equal_tokens(made).answer == "no conclusion"
    assert "different batches with seed 0" in equal_tokens(made).reason
    assert fairness(made).same_batches is False
    assert fairness(three_seeds()).same_batches is True


def test_a_loss_that_is_no_number_is_missing():
    made = three_seeds(kimi=(3.0, float("nan"), 3.2))
    assert equal_tokens(made).answer == "no conclusion"
    assert len(equal_tokens(made).pairs) == 2


def test_equal_wall_clock_by_hand():
    # GPT needs 40 s in all; Kimi at 2 s per step has seen 2,000 tokens then and stands at 6.0.
    verdict = next(v for v in verdicts(three_seeds()) if v.question == "Equal wall clock")
    assert [(p.baseline, p.challenger) for p in verdict.pairs] == [(4.0, 6.0), (4.1, 6.0), (4.2, 6.0)]
    assert verdict.winner == "gpt"


def test_equal_wall_clock_gives_the_cheaper_arm_no_more_than_it_used():
    # A faster Kimi: 0.5 s per step, 20 s in all, when GPT has seen 2,000 tokens.
    made = three_seeds()
    made = replace(made, arms={"gpt": arm("gpt"), "kimi": arm("kimi", (0.5,))})
    verdict = next(v for v in verdicts(made) if v.question == "Equal wall clock")
    assert [(p.baseline, p.challenger) for p in verdict.pairs] == [(6.0, 3.0), (6.0, 3.1), (6.0, 3.2)]


def test_equal_flops_by_hand():
    # Kimi's token costs 4/3 of GPT's: GPT's whole budget buys it 3,000 tokens, half way from 6.0 to its end.
    made = three_seeds()
    made = replace(made, arms={"gpt": arm("gpt"), "kimi": arm("kimi", flops_per_token=8000.0)})
    verdict = next(v for v in verdicts(made) if v.question == "Equal FLOPs")
    assert [p.challenger for p in verdict.pairs] == pytest.approx([4.5, 4.55, 4.6])
    assert [p.baseline for p in verdict.pairs] == [4.0, 4.1, 4.2]


def test_a_budget_that_ends_before_the_first_evaluation_is_no_row():
    made = three_seeds()
    made = replace(made, arms={"gpt": arm("gpt"), "kimi": arm("kimi", (2.1,))})
    verdict = next(v for v in verdicts(made) if v.question == "Equal wall clock")
    assert verdict.answer == "no conclusion"
    assert "has no validation loss after equal time" in verdict.reason


def test_without_step_times_there_is_no_verdict_on_time_but_one_on_tokens():
    made = three_seeds()
    made = replace(made, arms={"gpt": arm("gpt", ()), "kimi": arm("kimi", ())})
    found = {v.question: v.answer for v in verdicts(made)}
    assert found["Equal wall clock"] == "no conclusion"
    assert found["Equal tokens"] == "challenger"


def test_memory():
    made = three_seeds()
    more = [replace(r, peak_memory=700 * 10**6) if r.arm == "kimi" else r for r in made.runs]
    verdict = next(v for v in verdicts(replace(made, runs=tuple(more))) if v.question == "Memory")
    assert (verdict.winner, verdict.mean) == ("gpt", 100.0)
    unknown = [replace(r, peak_memory=None) for r in made.runs]
    verdict = next(v for v in verdicts(replace(made, runs=tuple(unknown))) if v.question == "Memory")
    assert (verdict.answer, verdict.pairs) == ("no conclusion", ())


# ---------------------------------------------------------------- the ladder


def rungs(*names):
    arms = [arm(name) for name in names]
    runs = [run(name, seed, {40: 5.0 - i + 0.01 * seed}) for i, name in enumerate(names) for seed in range(3)]
    return results(runs, arms)


def test_ladder_compares_each_rung_with_the_one_before():
    names = ("gpt", "kimi-dense", "kimi-mla", "kimi-moe", "kimi-bias", "kimi")
    found = ladder(rungs(*names))
    assert [(v.baseline, v.challenger) for v in found] == list(pairwise(names))
    assert all(v.winner == v.challenger and v.mean == pytest.approx(-1.0) for v in found)


def test_ladder_skips_no_rung():
    found = ladder(rungs("gpt", "kimi-mla", "kimi-moe", "kimi"))
    assert [(v.baseline, v.challenger) for v in found] == [("kimi-mla", "kimi-moe")]


def test_muon_for_gpt_stands_beside():
    found = optimizer_or_architecture(rungs("gpt", "kimi-bias", "kimi", "gpt-muon"))
    pairs = [(v.baseline, v.challenger) for v in found]
    assert pairs == [("gpt", "gpt-muon"), ("kimi-bias", "kimi"), ("gpt", "kimi-bias"), ("gpt-muon", "kimi")]


def test_judge_takes_any_pair_and_lower_is_better():
    made = rungs("gpt", "gpt-muon")
    verdict = compare_arms("q", "loss", made, lambda r: r.final.loss, "gpt-muon", "gpt")
    assert (verdict.winner, verdict.mean) == ("gpt-muon", pytest.approx(1.0))


# ---------------------------------------------------------------- fairness


def test_fairness_measures_the_largest_distance():
    made = three_seeds()
    arms = [
        arm("gpt"),
        arm("kimi-mla", body_active=985, flops_per_token=6060.0),
        arm("kimi", body_active=1010, flops_per_token=5880.0),
    ]
    facts = fairness(replace(made, arms={each.name: each for each in arms}))
    assert facts.body_active == pytest.approx(0.015)
    assert facts.flops == pytest.approx(0.02)


def test_fairness_of_nothing_is_not_claimed():
    facts = fairness(results([], [arm("kimi")]))
    assert facts.body_active is facts.flops is facts.same_batches is None


def test_equal_memory_is_against_the_best_arm_with_as_large_a_cache():
    """64 numbers per token, and one that is 0.5 % larger; `wide` is better still, with a larger cache."""
    arms = [arm("weak"), arm("good", cache_per_token=64.3), arm("wide", cache_per_token=66.0), arm("mla")]
    losses = {"weak": 3.0, "good": 2.5, "wide": 1.0, "mla": 2.0}
    made = results([run(name, seed, {40: loss}) for name, loss in losses.items() for seed in range(3)], arms)
    verdict = equal_memory(made, "mla")
    assert (verdict.question, verdict.winner, verdict.loser) == ("Equal memory", "mla", "good")
    assert verdict.mean == pytest.approx(-0.5)
    assert equal_memory(made, "wide") is None


def test_equal_memory_with_a_lost_run_meets_those_that_came():
    arms = [arm("weak"), arm("lost"), arm("mla")]
    runs = [run(name, seed, {40: 2.0}) for name in ("weak", "mla") for seed in range(3)]
    assert equal_memory(results(runs, arms), "mla").baseline == "weak"
    missing = equal_memory(results(runs, arms[1:]), "mla")
    assert (missing.answer, missing.reason) == ("no conclusion", "lost with seed 0 did not finish (2 more)")
