"""The tables of the studies of facts, against rows worked out by hand."""

from benchmarks.facts_tables import facts_table
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
