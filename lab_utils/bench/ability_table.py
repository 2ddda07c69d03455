"""What the models of a benchmark can do, side by side: the rows of `nanokimi evaluate`, a column per arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lab_utils.bench.results import Results
from lab_utils.show.table import Table
from lab_utils.show.words import plural
from nanokimi.abilities.report import Abilities
from nanokimi.abilities.rows import DASH, Row, list_rows

NOT_MEASURED = "not measured"
BELOW = "below each number"


def ability_table(results: Results) -> Table | None:
    """A row per measure, a column per arm, and what stands beside them; None where no arm is measured.

    What differs from model to model stands small below its number: of how many it is a share, a second number, and what
    it is compared with. The first line of a cell, and the name of a row, are those that `nanokimi evaluate` prints.
    """
    if not results.abilities:
        return None
    by_arm = {name: _name_rows(results.abilities[name]) for name in results.arms if name in results.abilities}
    names = list(dict.fromkeys(name for rows in by_arm.values() for name in rows))
    cells = []
    for name in names:
        found = {arm: rows[name] for arm, rows in by_arm.items() if name in rows}
        beside = {(row.beside, row.note) for row in found.values()}
        shared = len(beside) == 1
        number, note = beside.pop() if shared else (BELOW, next(iter(found.values())).note)
        columns = [_write(found.get(arm), shared) for arm in results.arms]
        cells.append(((name[0],), *columns, (number or DASH,), (note or DASH,)))
    heads = (("measure",), *((arm,) for arm in results.arms), ("beside it",), ("what that is",))
    return Table(heads, tuple(cells), _caption(results), words=(len(heads) - 1,))


def _name_rows(found: Abilities) -> dict[tuple[str, int], Row]:
    """The rows by their names; some names come again below another measure, and are told apart by how often."""
    seen, rows = Counter[str](), {}
    for row in list_rows(found):
        rows[row.what, seen[row.what]] = row
        seen[row.what] += 1
    return rows


def _write(row: Row | None, shared: bool) -> tuple[str, ...]:
    """The lines of a cell. shared: what stands beside the number has a column of its own."""
    if row is None:
        return (NOT_MEASURED,)
    beside = "" if shared else f"{row.note} {row.beside}"
    return tuple(line for line in (row.model, row.of and f"of {row.of}", row.besides, beside) if line)


def _caption(results: Results) -> str:
    """Of which seed the models are, what they wrote, and what is left out."""
    found = list(results.abilities.values())
    seed, n = results.seeds[0], len(results.seeds)
    parts = [f"the last checkpoint of seed {seed}" + (f", the first of {n} seeds" if n > 1 else "")]
    written = dict.fromkeys((each.samples.n, each.samples.seed) for each in found)
    parts += [f"{plural(size, 'text')} written from seed {start}" for size, start in written]
    return "; ".join([*parts, *_left_out(found)])


def _left_out(found: Sequence[Abilities]) -> list[str]:
    return list(dict.fromkeys(line for each in found for line in each.left_out))


def unmeasured_sentences(results: Results) -> list[str]:
    """A sentence for every arm that could not be measured, and why."""
    return [f"{arm} is not measured: {why}." for arm, why in results.unmeasured.items()]
