"""report.html and results.json."""

from dataclasses import asdict
from pathlib import Path

from lab_utils.compare import fairness, ladder, optimizer_or_architecture, table_rows, verdicts
from lab_utils.results import Results, to_json, write_json


def write_report(results: Results, out_dir: Path) -> None:
    derived = {
        "table": [asdict(row) for row in table_rows(results)],
        "verdicts": [asdict(v) for v in verdicts(results)],
        "ladder": [asdict(v) for v in ladder(results)],
        "optimizer_or_architecture": [asdict(v) for v in optimizer_or_architecture(results)],
        "fairness": asdict(fairness(results)),
    }
    write_json(out_dir / "results.json", to_json(results) | derived)
