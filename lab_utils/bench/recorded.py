"""The results that the project keeps in benchmarks/results/: of runs that are too long for a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab_utils.bench.results import ResultsError
from lab_utils.machine.describe import describe
from nanokimi.system.printable import quote
from nanokimi.system.refusals import nearest

RECORDS = Path(__file__).parents[2] / "benchmarks" / "results"


def record_path(name: str) -> Path:
    """benchmarks/results/<name>.json. `ResultsError` in one line where there is no such record."""
    names = sorted(path.stem for path in RECORDS.glob("*.json"))
    if not names:
        raise ResultsError(
            f"the records are not there: {RECORDS} is a folder of the checkout, not of the package"
        )
    if name not in names:
        raise ResultsError(f"no record {quote(name)}; {nearest(name, names)}")
    return RECORDS / f"{name}.json"


def where_and_when(environment: dict[str, Any]) -> str:
    """The machine of a record, and the day: AMD EPYC, 2 cores, 2 threads, 25 GB, Linux; 2026-11-25."""
    return f"{describe(environment['machine'])}; {environment['created'].partition('T')[0]}"
