"""Verdicts of a study of facts, against numbers worked out by hand; its picture and its page."""

from dataclasses import replace

import pytest

from lab_utils.study.facts import fact_loss_at, facts_verdicts
from lab_utils.study.map_picture import map_picture
from lab_utils.study.pictures import facts_picture
from lab_utils.study.record import Found
from lab_utils.study.report import as_text, write_report
from tests.study.outcomes import made_up

DENSE = [made_up("dense", 0.02, 1.0, 0.40 + seed / 100, (0.9, 0.6, 0.5), seed=seed) for seed in range(3)]
EXPERTS = [made_up("experts", 0.02, 1.0, 0.80 + seed / 100, (0.8, 0.3, 0.1), seed=seed) for seed in range(3)]
STEPS = {
    "dense": (1.0, 1.0, 9.0),
    "experts": (0.5, 1.5, 2.0),
}  # medians 1 and 1.5: dense ends at 2/3 of experts


def test_the_loss_on_facts_between_two_evaluations():
    assert fact_loss_at(DENSE[0], 1.0) == 0.5
    assert fact_loss_at(DENSE[0], 5 / 6) == pytest.approx(0.55)
    assert fact_loss_at(DENSE[0], 0.1) is None


def test_equal_text_and_equal_time():
    (text, time) = facts_verdicts(DENSE + EXPERTS, STEPS)[800, 30]
    assert text.winner == "experts" and text.mean == pytest.approx(-40) and text.spread == pytest.approx(2)
    assert [(pair.baseline, pair.challenger) for pair in text.pairs] == [
        (pytest.approx(60 - seed), pytest.approx(20 - seed)) for seed in range(3)
    ]
    assert [(pair.baseline, pair.challenger) for pair in time.pairs] == [(0.5, pytest.approx(0.3))] * 3
    assert time.winner == "experts"


def test_the_quicker_arm_may_be_the_challenger():
    (_, time) = facts_verdicts(DENSE + EXPERTS, {"dense": (3.0,), "experts": (1.5,)})[800, 30]
    # Experts are at their end when dense is half through: between 0.9 at a third and 0.6 at two thirds.
    assert [(pair.baseline, pair.challenger) for pair in time.pairs] == [
        (pytest.approx(0.75), pytest.approx(0.1))
    ] * 3


def test_one_seed_is_no_conclusion_and_a_missing_one_is_named():
    assert {v.reason for v in facts_verdicts([DENSE[0], EXPERTS[0]], STEPS)[800, 30]} == {"1 seed, 3 needed"}
    (text, _) = facts_verdicts(DENSE + EXPERTS[:2], STEPS)[800, 30]
    assert text.reason == "experts with seed 2 has no facts not known (%)"
    assert facts_verdicts(DENSE, STEPS) == {}


def test_words_and_page(tmp_path):
    found = Found(
        outcomes=tuple(DENSE + EXPERTS), lost={"<b>": "it died"}, step_seconds=STEPS, environment={}
    )
    text = as_text(found)
    assert "800 characters, 30 exposures\nEqual text: experts wins, dense loses." in text
    page = write_report(found, tmp_path).read_text()
    assert (
        page.count("<img") == 1
        and "a &lt;fast&gt; one, 2 cores" in page
        and "&lt;b&gt; never came: it died" in page
    )
    alt = facts_picture(found.outcomes).alt
    assert "100 facts after 30 exposures: dense 41 %, experts 81 %" in alt


def test_a_map_shows_every_text_and_every_arm_at_its_best_rate(tmp_path):
    places = [(400, 10), (400, 30), (800, 10), (800, 30)]
    many = [
        made_up(arm, 0.02, 1.0, known, n_characters=n, n_exposures=exposures)
        for n, exposures in places
        for arm, known in (("dense", exposures / 100), ("experts", exposures / 50))
    ]
    many.append(
        made_up("dense", 0.01, 2.0, 0.99, n_characters=400, n_exposures=10)
    )  # a worse loss: not shown
    shown = map_picture(many)
    assert "100 facts, dense: 10 %, 30 %; 100 facts, experts: 20 %, 60 %" in shown.alt
    assert [len(axes.lines) for axes in shown.figure.axes] == [2, 2]
    assert list(shown.figure.axes[1].lines[1].get_ydata()) == pytest.approx([20, 60])
    found = Found(outcomes=tuple(many), lost={}, step_seconds=STEPS, environment={})
    assert "Facts known over the exposures" in write_report(found, tmp_path).read_text()


def test_a_study_of_which_nothing_came_still_has_a_page(tmp_path):
    found = Found(outcomes=(), lost={"dense seed 0": "it died"}, step_seconds=STEPS, environment={})
    assert "it died" in write_report(found, tmp_path).read_text()


def test_without_times_nothing_is_said_of_time(tmp_path):
    """An arm whose very first step diverges has none."""
    found = Found(
        outcomes=tuple(DENSE + EXPERTS),
        lost={},
        step_seconds={"dense": (1.0,), "experts": ()},
        environment={},
    )
    (text, time) = facts_verdicts(found.outcomes, found.step_seconds)[800, 30]
    assert (
        text.winner == "experts" and time.answer == "no conclusion" and "has no loss on facts" in time.reason
    )
    assert "–" in as_text(found)


def test_a_study_whose_trainings_all_diverged_still_has_a_page(tmp_path):
    gone = tuple(replace(each, seen=None, held_out=None) for each in DENSE)
    found = Found(outcomes=gone, lost={}, step_seconds={"dense": ()}, environment={})
    assert "<img" not in write_report(found, tmp_path).read_text() and as_text(found)
