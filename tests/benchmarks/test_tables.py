"""The tables of steps: what a record has counted stands in them, by hand."""

from benchmarks.tables import facts_table, perf_table, scaling_axes, scaling_table
from lab_utils.study.record import Found
from tests.study.outcomes import made_up

ROW = {"ms": 10.0, "ratio": 1.0, "process_ratios": [1.0, 1.0]}
POINT = {"ms": 200.0, "tokens_per_s": 20480.0, "share_of_ceiling": 0.123, "peak_memory": 456_000_000}


def test_steps_have_shares_and_memory():
    row = ROW | {"share_of_ceiling": 0.456, "peak_memory": 1_234_000_000}
    assert perf_table("step", {"figures": {"step": {"GPT": row}}}).splitlines() == [
        "| step | ms | ratio (least..greatest) | share of a large product's speed | peak memory |",
        "|---|---|---|---|---|",
        "| GPT | 10.0 | 1.00 (1.00..1.00) | 46% | 1234 MB |",
    ]
    unknown = {"figures": {"step": {"GPT": row | {"peak_memory": None}}}}
    assert perf_table("step", unknown).endswith("| 46% | unknown |")
    assert perf_table("layer", {"figures": {"layer": {"MoE": ROW}}}).splitlines()[1:] == [
        "|---|---|---|",
        "| MoE | 10.0 | 1.00 (1.00..1.00) |",
    ]


def test_an_axis_goes_from_its_least_to_its_largest_value():
    points = [
        POINT | {"axes": {"experts": 16, "width": 128}},
        POINT | {"axes": {"width": 64}},
        POINT | {"axes": {"experts": 8}, "ms": 160.0, "peak_memory": None},
    ]
    assert scaling_axes({"points": points}) == ["experts", "width"]
    assert scaling_table("experts", {"points": points}).splitlines()[2:] == [
        "| 8 | 160 | 1.00 | 20,480 | 12% | unknown |",
        "| 16 | 200 | 1.25 | 20,480 | 12% | 456 MB |",
    ]


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
