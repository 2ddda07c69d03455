"""The README says what was measured, and nothing that was not."""

from pathlib import Path

import pytest

from benchmarks.tables import tables

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.splitlines()[0][:40])
def test_a_table_is_the_recorded_one(table: str) -> None:
    """To renew the README after a run: put the lines that `python -m benchmarks.tables` prints in their places."""
    assert table in README
