"""The README says what was measured, and nothing that was not."""

import json
from pathlib import Path

import pytest

from benchmarks.tables import RESULTS, tables
from lab_utils.bench.plan import make_plan

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.splitlines()[0][:40])
def test_a_table_is_the_recorded_one(table: str) -> None:
    """To renew the README after a run: put the lines that `python -m benchmarks.tables` prints in their places."""
    assert table in README


def test_every_arm_has_the_best_rate_of_its_own_sweep() -> None:
    sweep = json.loads((RESULTS / "sweep-cpu.json").read_text(encoding="utf-8"))["arms"]
    plan = make_plan("cpu", "ladder")
    assert {arm.name for arm in plan.arms} == set(sweep)
    for arm in plan.arms:
        losses = {float(rate): loss for rate, loss in sweep[arm.name]["loss"].items() if loss is not None}
        assert arm.train.optim.lr == min(losses, key=losses.__getitem__)
