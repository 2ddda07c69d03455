"""A table as text for a terminal and as HTML for notebooks, report and site; numbers with their units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Cells of text under a head; every cell may have several lines.

    `words` are the columns that hold words: they stand to the left, numbers to the right.
    """

    heads: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[tuple[str, ...], ...], ...]
    caption: str = ""
    words: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        caption: str = "",
        words: tuple[int, ...] = (),
    ) -> Table:
        """A table from plain strings; a line break in one begins a new line of its cell."""
        return cls(
            tuple(tuple(head.split("\n")) for head in heads),
            tuple(tuple(tuple(cell.split("\n")) for cell in row) for row in rows),
            caption,
            words,
        )

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def as_text(table: Table, width: int = 120) -> str:
    """The table as plain text: names and words to the left, numbers to the right. A wide table has narrow gaps."""
    lines = [*_stack(table.heads)]
    body = [line for row in table.cells for line in _stack(row)]
    widths = [max(len(line[i]) for line in lines + body) for i in range(len(table.heads))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "

    def join(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(w) if i in (0, *table.words) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(cells, widths))
        )
        return gap.join([first, *rest]).rstrip()

    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    caption = [table.caption] if table.caption else []
    return "\n".join([*map(join, lines), rule, *map(join, body), *caption])


def as_html(table: Table) -> str:
    """The table as HTML: a cell's first line large, the others small."""
    # Jupyter sets every cell to the right.
    side = [' style="text-align:left"' if i in table.words else "" for i in range(len(table.heads))]
    head = "".join(
        f"<th{at}>{'<br>'.join(escape(line) for line in lines if line)}</th>"
        for at, lines in zip(side, table.heads)
    )
    rows = ""
    for row in table.cells:
        first, *rest = (_write_cell(lines) for lines in row)
        rows += f'<tr><th scope="row"{side[0]}>{first}</th>'
        rows += "".join(f"<td{at}>{cell}</td>" for at, cell in zip(side[1:], rest)) + "</tr>\n"
    caption = f"<p>{escape(table.caption)}</p>" if table.caption else ""
    return f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{caption}'


def _write_cell(lines: Sequence[str]) -> str:
    first, *more = [escape(line) for line in lines if line] or [""]
    return first + "".join(f"<br><small>{line}</small>" for line in more)


def _stack(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """The text lines of one row of cells, the shorter cells filled up."""
    height = max(len(cell) for cell in cells)
    padded = [[*cell, *[""] * (height - len(cell))] for cell in cells]
    lines = [[cell[i] for cell in padded] for i in range(height)]
    return [line for line in lines if any(line)]


def count(x: float) -> str:
    """793344 as 793k, 1316000 as 1.32M, 32.86e9 as 32.9B: three digits and a unit (k, M, B or T: 10^3 to 10^12)."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if x >= size * 0.9995:
            return f"{x / size:#.3g}".rstrip(".") + unit
    return f"{x:.0f}"


def seconds(x: float) -> str:
    """Seconds as a number without its unit: one decimal below a hundred, none above."""
    return f"{x:.1f}" if x < 99.95 else f"{x:,.0f}"


def memory(n_bytes: float) -> str:
    """9210000000 as 9.2 GB: kB, MB or GB, which are powers of ten; a decimal only below a hundred GB."""
    if n_bytes >= 999.5e6:
        return f"{n_bytes / 1e9:.1f} GB" if n_bytes < 99.95e9 else f"{n_bytes / 1e9:,.0f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 999.5e3 else f"{n_bytes / 1e3:.0f} kB"
