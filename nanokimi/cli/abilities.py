"""What a model can do as lines for a terminal: a table of its rows."""

from __future__ import annotations

from nanokimi.abilities.report import Abilities
from nanokimi.abilities.rows import list_rows


def lines_of(found: Abilities) -> list[str]:
    """The table as lines, and what is left out of it."""
    rows = [("", "model", "beside it", "")]
    for row in list_rows(found):
        what = f"{row.what}, of {row.of}" if row.of else row.what
        rows.append((what, row.model, row.beside, row.note or row.besides))
    first, second, third = (max(len(row[i]) for row in rows) for i in range(3))
    lines = [
        f"{what:<{first}}  {model:>{second}}  {beside:>{third}}  {note}".rstrip()
        for what, model, beside, note in rows
    ]
    return [*lines, *found.left_out]
