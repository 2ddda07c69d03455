"""What a study found, as words for a terminal and as a page with its picture inside."""

from __future__ import annotations

from html import escape
from pathlib import Path

from lab_utils.bench.tables import sentence, verdict_table
from lab_utils.show.page import make_page
from lab_utils.show.table import as_html
from lab_utils.study.facts import facts_verdicts
from lab_utils.study.pictures import facts_picture
from lab_utils.study.record import Found, facts_table
from lab_utils.study.trial import by_place
from nanokimi.system.atomic import write_text

REPORT = "report.html"
CSS = "main { max-width: 1100px; } table { font-size: .82rem; }"


def as_text(found: Found) -> str:
    """What every arm knows, and for every text what follows."""
    parts = [str(facts_table(found))]
    for title, verdicts in _titled(found).items():
        parts.append("\n".join([title, *map(sentence, verdicts)]))
    return "\n\n".join(parts)


def write_report(found: Found, folder: Path) -> Path:
    """The page of the study, written into `folder`."""
    body = ["<h1>How many facts does each model know?</h1>"]
    if by_place(found.outcomes):  # none where all diverged
        body.append(f"<figure>{facts_picture(found.outcomes).html()}</figure>")
    body.append(as_html(facts_table(found)))
    for title, verdicts in _titled(found).items():
        body += [f"<h2>{escape(title)}</h2>", *(f"<p>{escape(sentence(each))}</p>" for each in verdicts)]
        body.append(as_html(verdict_table(verdicts)))
    body += [f"<p>{escape(name)} never came: {escape(why)}</p>" for name, why in found.lost.items()]
    machines = sorted({each for outcome in found.outcomes for each in outcome.run.tries})
    body += ["<h2>Where it was trained</h2>", *(f"<p>{escape(each)}</p>" for each in machines)]
    path = folder / REPORT
    write_text(path, make_page("Facts known", "<main>" + "\n".join(body) + "</main>", CSS))
    return path


def _titled(found: Found) -> dict[str, list]:
    verdicts = facts_verdicts(found.outcomes, found.step_seconds)
    return {f"{n:,} characters, {e} exposures": each for (n, e), each in verdicts.items()}
