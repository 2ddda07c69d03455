"""What a study of facts found, as words for a terminal and as a page with its picture inside."""

from __future__ import annotations

from pathlib import Path

from lab_utils.bench.tables import sentence
from lab_utils.study.facts import facts_verdicts
from lab_utils.study.map_picture import map_picture
from lab_utils.study.page import write_page
from lab_utils.study.pictures import facts_picture
from lab_utils.study.record import Found, facts_table
from lab_utils.study.trial import by_place


def as_text(found: Found) -> str:
    """What every arm knows, and for every text what follows."""
    parts = [str(facts_table(found))]
    for title, verdicts in _titled(found).items():
        parts.append("\n".join([title, *map(sentence, verdicts)]))
    return "\n\n".join(parts)


def write_report(found: Found, folder: Path) -> Path:
    """The page of the study, written into `folder`."""
    texts = {(n, exposures) for n, exposures, _ in by_place(found.outcomes)}
    draw = map_picture if len(texts) > 1 else facts_picture
    return write_page(
        "How many facts does each model know?",
        draw(found.outcomes) if texts else None,  # none where all diverged
        facts_table(found),
        _titled(found),
        found.lost,
        [each.run for each in found.outcomes],
        folder,
    )


def _titled(found: Found) -> dict[str, list]:
    verdicts = facts_verdicts(found.outcomes, found.step_seconds)
    return {f"{n:,} characters, {e} exposures": each for (n, e), each in verdicts.items()}
