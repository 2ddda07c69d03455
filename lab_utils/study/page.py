"""The page of a study: its picture, its table, what follows, and where it was trained. It needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from lab_utils.bench.results import Run
from lab_utils.bench.tables import sentence, verdict_table
from lab_utils.bench.verdicts import Verdict
from lab_utils.show.page import make_page
from lab_utils.show.snapshot import Snapshot
from lab_utils.show.table import Table, as_html
from nanokimi.system.atomic import write_text

REPORT = "report.html"
CSS = "main { max-width: 1100px; } table { font-size: .82rem; }"


def write_page(
    title: str,
    picture: Snapshot | None,
    table: Table,
    verdicts: Mapping[str, Sequence[Verdict]],
    lost: Mapping[str, str],
    runs: Iterable[Run],
    folder: Path,
) -> Path:
    """Write the page into `folder`. verdicts: by the title above them. lost: by name why a training gave nothing."""
    body = [f"<h1>{escape(title)}</h1>"]
    if picture is not None:
        body.append(f"<figure>{picture.html()}</figure>")
    body.append(as_html(table))
    for heading, found in verdicts.items():
        body += [f"<h2>{escape(heading)}</h2>", *(f"<p>{escape(sentence(each))}</p>" for each in found)]
        body.append(as_html(verdict_table(found)))
    body += [f"<p>{escape(name)} never came: {escape(why)}</p>" for name, why in lost.items()]
    machines = sorted({each for run in runs for each in run.tries})
    body += ["<h2>Where it was trained</h2>", *(f"<p>{escape(each)}</p>" for each in machines)]
    path = folder / REPORT
    write_text(path, make_page(title, "<main>" + "\n".join(body) + "</main>", CSS))
    return path
