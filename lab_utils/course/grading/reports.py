"""A page for the student: what became of each exercise of a notebook, in the words of a check's panel."""

from __future__ import annotations

import hashlib
import re
from html import escape
from pathlib import Path

from lab_utils.course.grading.one import NOT_GRADED, PASSED
from lab_utils.course.grading.table import Entry
from lab_utils.show.note import with_code
from nanokimi.system import atomic
from nanokimi.system.printable import one_line

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }}
h2 {{ font-size: 1em; margin: 1.5em 0 0; }}
p {{ margin: .25em 0; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
<p>Graded with nanokimi {lab}.</p>
</body>
</html>
"""


def write_report(folder: Path, entry: Entry) -> None:
    """Write the page of one notebook into `folder`. Raises `OSError`."""
    atomic.write_text(folder / report_name(entry.file.key), as_page(entry))


def report_name(key: str) -> str:
    """The name of a page: letters and digits of the notebook's path, and a mark for paths that look alike."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", key.removesuffix(".ipynb")).strip("-")[:80]
    mark = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}-{mark}.html"


def as_page(entry: Entry) -> str:
    """The page as HTML. All text is escaped: a notebook can put no markup into it."""
    grades = entry.graded.grades
    if grades[0].status == NOT_GRADED:
        body = f"<p>It could not be graded: {escape(grades[0].says)}</p>"
    else:
        n_passed = sum(grade.status == PASSED for grade in grades)
        parts = [f"<p>{n_passed} of {len(grades)} exercises passed.</p>"]
        for grade in grades:
            parts.append(f"<h2><code>{escape(grade.exercise)}</code>: {escape(grade.status)}</h2>")
            parts += [f"<p>{with_code(line)}</p>" for line in grade.report]
        body = "\n".join(parts)
    return PAGE.format(title=escape(one_line(entry.file.key)), body=body, lab=escape(entry.lab))
