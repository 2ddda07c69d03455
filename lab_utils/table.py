"""The comparison table as text for a terminal and as HTML for the notebook and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

from lab_utils.arms import BASELINE
from lab_utils.compare import Row, Spread, planned_tokens, step_ratio
from lab_utils.curves import role_curves
from lab_utils.results import ArmFacts, Results
from lab_utils.verdicts import Verdict

DASH = "–"


@dataclass(frozen=True)
class Table:
    """Cells of text under two lines of head; every cell may have several lines."""

    heads: tuple[tuple[str, ...], ...]
    cells: tuple[tuple[tuple[str, ...], ...], ...]
    caption: str = ""

    @classmethod
    def of(cls, heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
        """A table from plain strings; a line break in one makes two lines."""
        return cls(
            tuple(tuple(head.split("\n")) for head in heads),
            tuple(tuple(tuple(cell.split("\n")) for cell in row) for row in rows),
            caption,
        )

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def as_text(table: Table, width: int = 120) -> str:
    """Plain text: the first column to the left, numbers to the right; one space between columns if it gets tight."""
    lines = [*_lines(table.heads)]
    body = [line for row in table.cells for line in _lines(row)]
    widths = [max(len(line[i]) for line in lines + body) for i in range(len(table.heads))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "

    def join(cells: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths))
        )
        return gap.join([first, *rest]).rstrip()

    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    caption = [table.caption] if table.caption else []
    return "\n".join([*map(join, lines), rule, *map(join, body), *caption])


def as_html(table: Table) -> str:
    head = "".join(f"<th>{'<br>'.join(escape(line) for line in lines if line)}</th>" for lines in table.heads)
    rows = ""
    for row in table.cells:
        first, *rest = (_html_lines(lines) for lines in row)
        rows += f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>\n"
    caption = f"<p>{escape(table.caption)}</p>" if table.caption else ""
    return f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>{caption}'


def _html_lines(lines: Sequence[str]) -> str:
    first, *more = [escape(line) for line in lines if line] or [""]
    return first + "".join(f"<br><small>{line}</small>" for line in more)


def _lines(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """The text lines of one row of cells, the shorter cells filled up."""
    height = max(len(cell) for cell in cells)
    padded = [[*cell, *[""] * (height - len(cell))] for cell in cells]
    lines = [[cell[i] for cell in padded] for i in range(height)]
    return [line for line in lines if any(line)]


# ---------------------------------------------------------------- the comparison


def comparison_table(rows: Sequence[Row]) -> Table:
    """The main table: a row an arm; under a mean over several seeds its least and greatest value."""
    heads = (
        ("model",),
        ("total", "params"),
        ("active", "body"),
        ("FLOPs", "/token"),
        ("tokens", "/sec."),
        ("step", "vs GPT"),
        ("time", "(s)"),
        ("memory", "peak"),
        ("val. loss", "nats/token"),
        ("perplexity",),
        ("bits", "a byte"),
        ("tokens to", "GPT's loss"),
        ("sec.", "to it"),
    )
    floors = {row.floor for row in rows if row.floor is not None}
    seeds = sorted({row.n_seeds for row in rows})
    notes = [
        f"floor: {floors.pop():.3f} bits a byte" if len(floors) == 1 else "floor: not known for this text"
    ]
    notes.append(f"seeds: {seeds[0]}" if len(seeds) == 1 else f"seeds: {seeds[0]} to {seeds[-1]}")
    if seeds[-1] > 1:
        notes.append("under a mean: least..greatest over the seeds")
    return Table(heads, tuple(_cells(row) for row in rows), "; ".join(notes))


def _cells(row: Row) -> tuple[tuple[str, ...], ...]:
    return (
        (row.arm,),
        (count(row.total),),
        (count(row.body_active),),
        (count(row.flops_per_token),),
        (DASH if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",),
        (DASH if row.step_ratio is None else f"{row.step_ratio.mean:.2f}",),
        (DASH if row.seconds is None else seconds(row.seconds),),
        _spread(row.peak_memory, memory),
        _spread(row.loss, lambda x: f"{x:.3f}"),
        _spread(row.perplexity, lambda x: f"{x:#.3g}".rstrip(".")),
        _spread(row.bits_per_byte, lambda x: f"{x:.3f}"),
        _reached(row),
        (DASH if row.seconds_to_target is None else seconds(row.seconds_to_target.mean),),
    )


def _spread(value: Spread | None, show: Callable[[float], str]) -> tuple[str, ...]:
    if value is None:
        return (DASH,)
    if value.n < 2:
        return (show(value.mean),)
    low, high = show(value.low), show(value.high)
    if low[-1] == high[-1] and low[-1].isalpha():
        low = low[:-1]  # 386..393M: one unit for both
    return (show(value.mean), f"{low}..{high}")


def _reached(row: Row) -> tuple[str, ...]:
    value = row.tokens_to_target
    if value is None:
        return ("not reached" if row.loss is not None else DASH,)
    lines = [f"{count(value.mean)} ({row.share_to_target:.0%})"]
    if value.n > 1:
        lines += _spread(value, count)[1:]
    if value.n < row.n_seeds:
        lines.append(f"{value.n} of {row.n_seeds} seeds")
    return tuple(lines)


def plan_table(arms: Sequence[ArmFacts]) -> Table:
    """What will be trained: sizes and costs, which are known before any training."""
    heads = (
        ("model",),
        ("total", "params"),
        ("active", "params"),
        ("active", "body"),
        ("FLOPs", "a token"),
        ("cache", "numbers a token"),
        ("optimizer",),
        ("learning rate",),
        ("tokens", "in all"),
    )
    cells = tuple(
        (
            (arm.name,),
            (count(arm.total),),
            (count(arm.active),),
            (count(arm.body_active),),
            (count(arm.flops_per_token),),
            (f"{arm.cache_per_token:,.0f}",),
            (arm.train["optim"]["optimizer"],),
            (f"{arm.train['optim']['lr']:g}",),
            (count(planned_tokens(arm)),),
        )
        for arm in arms
    )
    return Table(heads, cells)


def verdict_table(verdicts: Sequence[Verdict], first: str = "question") -> Table:
    """The rows behind verdicts: both arms' means, their difference, its spread, and the answer."""
    heads = (
        (first,),
        ("compared",),
        ("from",),
        ("to",),
        ("difference",),
        ("per seed",),
        ("spread",),
        ("verdict",),
    )
    caption = "" if verdicts else "nothing to compare: no two arms that differ in one thing were trained"
    return Table(heads, tuple(_verdict_cells(verdict) for verdict in verdicts), caption)


def _verdict_cells(verdict: Verdict) -> tuple[tuple[str, ...], ...]:
    digits = 0 if "MiB" in verdict.quantity else 3
    pairs = verdict.pairs
    means = [
        f"{sum(side) / len(side):.{digits}f}" if side else DASH
        for side in ([p.baseline for p in pairs], [p.challenger for p in pairs])
    ]
    return (
        (verdict.question,),
        (f"{verdict.baseline} → {verdict.challenger}",),
        (means[0],),
        (means[1],),
        (DASH if verdict.mean is None else f"{verdict.mean:+.{digits}f}",),
        (" ".join(f"{p.difference:+.{digits}f}" for p in pairs) or DASH,),
        (DASH if verdict.spread is None else f"{verdict.spread:.{digits}f}",),
        (f"{verdict.winner} is lower" if verdict.winner else verdict.answer,),
    )


def role_table(results: Results) -> Table | None:
    """Bits a byte by role at the end, the mean over the seeds, with the floor; None where roles are not known."""
    roles = role_curves(results)
    if not roles:
        return None
    arms = [curve.arm for curve in roles[0].curves]
    tokens = next(run for run in results.runs if run.complete).final.by_role
    heads = (("role",), ("share of", "tokens"), ("floor", "bits/byte"), *((arm, "bits/byte") for arm in arms))
    n_tokens = sum(facts["n_tokens"] for facts in tokens.values())
    cells = tuple(
        (
            (role.role,),
            (f"{tokens[role.role]['n_tokens'] / n_tokens:.0%}",),
            (f"{role.floor:.3f}",),
            *((f"{curve.mean[-1]:.3f}",) for curve in role.curves),
        )
        for role in roles
    )
    return Table(heads, cells)


def step_table(results: Results) -> Table:
    """Step times measured in turns, and what decoding keeps for a token."""
    heads = (
        ("model",),
        ("rounds",),
        ("median step", "(ms)"),
        ("quickest..slowest", "(ms)"),
        ("vs GPT", "median"),
        ("vs GPT", "quartiles"),
        ("cache", "numbers a token"),
    )
    rows = []
    for facts in results.arms.values():
        ms = [1000 * seconds for seconds in facts.step_seconds]
        ratio = step_ratio(facts, results.arms.get(BASELINE))
        rows.append(
            (
                (facts.name,),
                (str(len(ms)),),
                (f"{median(ms):.1f}" if ms else DASH,),
                (f"{min(ms):.1f}..{max(ms):.1f}" if ms else DASH,),
                (f"{ratio.mean:.2f}" if ratio else DASH,),
                (f"{ratio.low:.2f}..{ratio.high:.2f}" if ratio else DASH,),
                (f"{facts.cache_per_token:,.0f}",),
            )
        )
    return Table(heads, tuple(rows))


def sentence(verdict: Verdict) -> str:
    """A verdict in words: `Equal tokens: kimi wins over gpt, ...`, or why there is none."""
    if verdict.winner:
        loser = verdict.baseline if verdict.answer == "challenger" else verdict.challenger
        digits = 0 if "MiB" in verdict.quantity else 3
        return (
            f"{verdict.question}: {verdict.winner} wins, {loser} loses. The {verdict.quantity} differs by "
            f"{abs(verdict.mean):.{digits}f} (spread {verdict.spread:.{digits}f}); {verdict.reason}."
        )
    return f"{verdict.question}: {verdict.answer}: {verdict.reason}."


# ---------------------------------------------------------------- numbers


def count(x: float) -> str:
    """793344 as 793k, 1316000 as 1.32M: three digits and a unit."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= size * 0.9995:
            return f"{x / size:#.3g}".rstrip(".") + unit
    return f"{x:.0f}"


def seconds(x: float) -> str:
    return f"{x:.1f}" if x < 99.95 else f"{x:,.0f}"


def memory(n_bytes: float) -> str:
    """Kibibytes below one mebibyte, mebibytes below ten thousand, else gibibytes."""
    mebibytes = n_bytes / 2**20
    if mebibytes < 1:
        return f"{n_bytes / 1024:.0f}K"
    return f"{mebibytes:.0f}M" if mebibytes < 9999.5 else f"{mebibytes / 1024:.1f}G"
