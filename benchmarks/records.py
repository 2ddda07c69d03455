"""Where a measurement is kept: in out/benchmarks/, and with --record in benchmarks/results/.

The tables of README.md and of docs come from benchmarks/results/, and tests compare them. So a run on one's own
machine leaves those files as they are.
"""

import argparse
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
OWN = Path("out/benchmarks")


def add_record_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep the result in benchmarks/results/, where the tables of the docs come from",
    )


def record_path(name: str, record: bool) -> Path:
    """The file of the result called `name`."""
    return (RESULTS if record else OWN) / f"{name}.json"
