"""Which exercises a notebook should answer, where each answer stands, and when it is judged.

An answer is found by its name. Of several definitions the last one before the handover counts, as in a notebook that
is run from top to bottom and checked; one after the handover counts where none stands before it. An untouched stub
counts only where nothing else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab_utils.course.grading.cells import CORE, STUB, WORK, Bound, Cell, defined_in


@dataclass
class Step:
    """Code that runs as one cell. Before it, answers that were kept are judged; after it, others are kept."""

    source: str
    judges: list[str] = field(default_factory=list)
    keeps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """The steps of a notebook. `expected` are its exercises; `lacking` says of some why they have no answer."""

    expected: tuple[str, ...]
    steps: tuple[Step, ...]
    lacking: dict[str, str]


@dataclass(frozen=True)
class _Place:
    """A statement of the cell with this number."""

    cell: int
    bound: Bound

    @property
    def order(self) -> tuple[int, int]:
        return self.cell, self.bound.first


def make_plan(cells: list[Cell], notebook_of: Mapping[str, str]) -> Plan:
    """The plan for these cells. `notebook_of` has the notebook's number of every exercise of the course, in order."""
    numbers = _find_numbers(cells, notebook_of)
    expected = tuple(name for name, number in notebook_of.items() if number in numbers)
    code = [cell for cell in cells if cell.kind == "code"]
    lacking, kept, judged = {}, {}, {}
    for name in expected:
        place = _find_answer(code, name)
        if place is None:
            lacking[name] = _say_lacking(cells, name)
        else:
            kept[name] = place
            judged[name] = _find_moment(code, place)
    return Plan(expected, tuple(_make_steps(code, kept, judged)), lacking)


def _find_numbers(cells: list[Cell], notebook_of: Mapping[str, str]) -> set[str]:
    """The notebooks of which these are the cells: those that ids name, else the one with most of the names."""
    if marked := {notebook_of[cell.named] for cell in cells if cell.named in notebook_of}:
        return marked
    seen = [{bound.name for bound in cell.bound} | cell.checks for cell in cells]
    counts = Counter(notebook_of[name] for name in set().union(*seen))
    return {number for number, _ in counts.most_common(1)}


def _find_answer(code: list[Cell], name: str) -> _Place | None:
    """The statement that binds the name to the answer that counts."""
    places = [_Place(i, b) for i, cell in enumerate(code) for b in cell.bound if b.name == name]
    whole = [place for place in places if not code[place.cell].broken]
    works, stubs, cores = ([p for p in whole if p.bound.kind == kind] for kind in (WORK, STUB, CORE))
    own = [i for i, cell in enumerate(code) if cell.identity == f"{name}-exercise"]
    # An import in the exercise's own cell is an answer of a kind; the handover's is not.
    taken = [p for p in cores if p.cell in own]
    begun = min((p.order for p in [*works, *stubs]), default=(0, 0))
    handover = next((p.order for p in cores if p.order > begun and p not in taken), None)
    before = [p for p in works if handover is None or p.order < handover]
    broken = [p for p in places if code[p.cell].broken]
    broken += [_Place(i, Bound(name, WORK, 1, 1)) for i in own if code[i].broken]
    for found in (before, works, broken, taken, stubs):
        if found:
            return max(found, key=lambda p: p.order)
    # A cell that stands where the answer should, and raises an error or defines something else, is told about.
    return _Place(own[-1], Bound(name, WORK, 1, 1)) if own and code[own[-1]].source.strip() else None


def _find_moment(code: list[Cell], place: _Place) -> tuple[int, int]:
    """Where the answer is judged: the cell and the line before which it is, (number, 0) before all of a cell.

    That is where its check stands, or what binds the name to something else, and at once where neither comes.
    """
    name = place.bound.name
    for number in range(place.cell, len(code)):
        cell = code[number]
        for bound in cell.bound:
            if bound.name == name and (number, bound.first) > place.order:
                return (number, bound.first) if number == place.cell else (number, 0)
        if number > place.cell and (name in cell.checks or cell.identity == f"{name}-check"):
            return number, 0
    return place.cell + 1, 0


def _make_steps(
    code: list[Cell], kept: Mapping[str, _Place], judged: Mapping[str, tuple[int, int]]
) -> list[Step]:
    """The cells as steps, up to the last one that counts. A cell is cut where an answer in it must be judged."""
    end = max((cell for cell, _ in judged.values()), default=0)
    steps: list[Step] = []
    for number, cell in enumerate(code[: end + 1]):
        lines = cell.source.splitlines(keepends=True)
        cuts = sorted({0} | {line for at, line in judged.values() if at == number})
        for cut, following in zip(cuts, [*cuts[1:], len(lines) + 1], strict=True):
            source = "".join(lines[max(cut - 1, 0) : following - 1])
            step = Step(source, [name for name, at in judged.items() if at == (number, cut)])
            step.keeps = [n for n, p in kept.items() if p.cell == number and cut <= p.bound.first < following]
            if cell.only_checks:
                step.source = ""
            steps.append(step)
    left = [name for name, (cell, _) in judged.items() if cell >= len(code)]
    # Nothing after the last answer is run.
    while steps and not steps[-1].keeps and not steps[-1].judges:
        steps.pop()
    if steps and not steps[-1].keeps:
        steps[-1].source = ""
    return [*steps, Step("", left)]


def _say_lacking(cells: list[Cell], name: str) -> str:
    """Why there is no answer under this name."""
    asleep = [c for c in cells if c.kind != "code" and (c.identity == f"{name}-exercise" or _has(c, name))]
    if asleep:
        return f"Its cell is a {asleep[0].kind} cell, which does not run: make it a code cell."
    own = [cell for cell in cells if cell.identity == f"{name}-exercise"]
    if own:
        others = [each for each in defined_in(own[0].source) if each != name]
        also = f"; it defines {', '.join(others)[:200]}" if others else ""
        return f"The cell defines nothing called {name}{also}."
    return f"The exercise's cell is missing: nothing in the notebook defines {name}."


def _has(cell: Cell, name: str) -> bool:
    return any(bound.name == name for bound in cell.bound)
