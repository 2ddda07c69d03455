"""The tables of the studies of facts, against rows worked out by hand."""

from benchmarks.facts_tables import bits_table, facts_table, map_table
from lab_utils.study.record import Found
from tests.study.outcomes import made_up


def test_a_row_of_a_study_is_the_mean_of_an_arm_at_a_rate():
    outcomes = [
        made_up("dense", 0.02, 1.0, 0.4),
        made_up("dense", 0.02, 1.0, 0.6, seed=1),
        made_up("wide", 0.01, 1.0),
    ]
    found = Found(
        outcomes=tuple(outcomes),
        lost={},
        step_seconds={"dense": (1.0, 2.0, 9.0), "wide": (3.0,)},
        environment={},
    )
    assert facts_table(found).splitlines()[2:] == [
        "| dense | 0.02 | 2 | 50.0% (40.0%..60.0%) | 25.0% | 1.50 | 0.25 | 1.00 |",
        "| wide | 0.01 | 1 | 50.0% (50.0%..50.0%) | 25.0% | 1.50 | 0.25 | 1.50 |",
    ]


def test_a_map_has_a_row_per_text_with_every_arm_at_its_best_rate():
    outcomes = (
        made_up("dense", 0.02, 1.0, 0.4, n_characters=400, n_exposures=10),
        made_up("dense", 0.01, 2.0, 0.9, n_characters=400, n_exposures=10),  # knows more, with the worse loss
        made_up("wide", 0.01, 1.0, 0.7, n_characters=400, n_exposures=10, body_total=3000),
        made_up("dense", 0.02, 1.0, 0.6, n_characters=400, n_exposures=30),
        made_up("wide", 0.02, 1.0, 0.8, n_characters=400, n_exposures=30),
    )
    found = Found(outcomes=outcomes, lost={}, step_seconds={}, environment={})
    assert map_table(found).splitlines() == [
        "| facts | exposures | dense: facts known | wide: facts known |",
        "|---|---|---|---|",
        "| 100 | 10 | 40% (0.02) | 70% (0.01) |",
        "| 100 | 30 | 60% (0.02) | 80% (0.02) |",
    ]
    assert bits_table(found).splitlines()[2] == "| 100 | 10 | 1.50 / 0.25 | 1.50 / 0.10 |"
