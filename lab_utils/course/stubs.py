"""Puts exercise cells back to their stubs: python -m lab_utils.course.stubs notebooks/04_topk_routing.ipynb

The notebook as it was is kept in the folder `before` beside it; no copy is ever overwritten. Other cells stay as they
are. Exit code 0: every exercise is a stub now; 2: a notebook could not be read, written or put back.

The stubs are in stubs.json, which `--collect notebooks` makes from the course's own notebooks: a change in git, in a
learner's notebook or in its ids does not touch them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lab_utils.course.grading.names import stubs
from lab_utils.machine.headless import read_notebook
from lab_utils.show.words import plural
from nanokimi.system import atomic
from nanokimi.system.printable import one_line, show_every_letter

STUBS = Path(__file__).with_suffix(".json")
PARTS = ("derivation", "exercise", "check", "handover")
RELOAD = (
    "If the notebook is open in JupyterLab, choose File > Reload Notebook from Disk before you go on; "
    "where JupyterLab says that the file has changed, choose Revert."
)


@dataclass
class PutBack:
    """What happened to the exercises of a notebook."""

    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # neither a cell with it, nor one below which it belongs
    elsewhere: list[str] = field(default_factory=list)  # a cell that was left alone defines it too


def put_back(notebook: NotebookNode) -> PutBack:
    """Give every exercise cell of a notebook its stub, in place, and empty the outputs of it and of its check.

    The cell is found by its id, else by what it defines; where there is none, one is made above the check.
    """
    done = PutBack()
    for name in names_in(notebook):
        cell = _exercise_cell(notebook, name)
        if cell is None:
            done.lost.append(name)
            continue
        if any(c is not cell and defines(c, name) for c in notebook.cells):
            done.elsewhere.append(name)
        (done.unchanged if cell.source == stubs()[name] else done.changed).append(name)
        cell.source = stubs()[name]
        for each in (cell, _cell_called(notebook, f"{name}-check")):
            if each is not None:
                each.outputs, each.execution_count = [], None
    return done


def names_in(notebook: NotebookNode) -> list[str]:
    """The exercises of which a notebook holds a cell, in the order of the course."""
    ids = {cell.get("id") for cell in notebook.cells}
    tagged = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    return [
        name
        for name in stubs()
        if ids & {f"{name}-{part}" for part in PARTS} or any(defines(cell, name) for cell in tagged)
    ]


def defines(cell: NotebookNode, name: str) -> bool:
    """Whether a code cell defines `name`, by def, class or assignment, outside of any function."""
    pattern = rf"^(?:(?:async +)?(?:def|class) +{name}\b|{name} *(?::[^=\n]+)?=(?!=))"
    return cell.cell_type == "code" and re.search(pattern, cell.source, re.M) is not None


def _exercise_cell(notebook: NotebookNode, name: str) -> NotebookNode | None:
    """The cell of an exercise, with its id and its tag: the one that has them, or gets them now."""
    cell = _cell_called(notebook, f"{name}-exercise")
    if cell is None:
        own = tuple(f"-{part}" for part in PARTS)
        free = (c for c in notebook.cells if not c.get("id", "").endswith(own))
        cell = next((c for c in free if defines(c, name)), None)
    if cell is None:
        cells, below = notebook.cells, [f"{name}-check", f"{name}-handover"]
        place = next((i for i, c in enumerate(cells) if c.get("id") in below), None)
        if place is None:
            return None
        cell = nbformat.v4.new_code_cell()
        cells.insert(place, cell)
    for other in notebook.cells:
        # Work that was turned into text keeps its cell, and loses the id: two cells cannot have it.
        if other is not cell and other.get("id") == f"{name}-exercise":
            other.id = nbformat.v4.new_markdown_cell().id
    tags = cell.metadata.get("tags", [])
    cell.metadata["tags"] = tags if "exercise" in tags else [*tags, "exercise"]
    cell.id = f"{name}-exercise"
    return cell


def _cell_called(notebook: NotebookNode, identity: str) -> NotebookNode | None:
    return next((c for c in notebook.cells if c.get("id") == identity and c.cell_type == "code"), None)


# ---------------------------------------------------------------- files


def put_back_file(path: Path) -> str:
    """Put the exercises of a notebook file back, and say what happened. The file as it was is kept beside it.

    Raises `ValueError` for a file that is no notebook with exercises, or that changes meanwhile, and `OSError`.
    """
    path = path.resolve()
    notebook, before = read_notebook(path), path.read_bytes()
    # A file without ids gets some, so that the stubs can have theirs.
    notebook = nbformat.v4.upgrade(notebook)
    done = put_back(notebook)
    if not done.changed + done.unchanged + done.lost:
        raise ValueError("it holds no exercise of the course")
    says = []
    if not done.changed:
        says.append(
            f"{plural(len(done.unchanged), 'exercise')} of it: all stubs already; nothing was changed"
        )
    else:
        after = nbformat.writes(notebook) + "\n"
        if re.search("[\ud800-\udfff]", after):  # JSON can name it, but no text can hold it
            raise ValueError(
                "it holds half of a letter, as a cut emoji leaves it; clear its outputs or delete it"
            )
        kept = _keep(path, before)
        if path.read_bytes() != before:
            raise ValueError("it was saved meanwhile; try again")
        atomic.write_text(path, after)
        says.append(
            f"stubs again: {', '.join(done.changed)}. Your work is kept in before/{kept.name}. {RELOAD}"
        )
    if done.lost:
        says.append(f"no cell and no check left of {', '.join(done.lost)}")
    if done.elsewhere:
        says.append(f"left alone: another cell that defines {', '.join(done.elsewhere)}")
    return "; ".join(says)


def find_notebook(file: str, names: Sequence[str]) -> Path:
    """The notebook that is open where it holds one of these exercises, else the `file` beside it.

    A learner may have given the open one another name. Raises `ValueError` where neither is there.
    """
    # JupyterLab and Notebook tell the kernel so for which file it was started.
    opened = Path(os.environ.get("JPY_SESSION_NAME", ""))
    if opened.is_file() and set(names) & set(names_in(read_notebook(opened))):
        return opened
    if not Path(file).is_file():
        raise ValueError(f"there is no {file} in {Path.cwd()}")
    return Path(file)


def _keep(path: Path, content: bytes) -> Path:
    """A new file with this content, named after `path` and today, in the folder `before` beside it."""
    atomic.make_folder(path.parent / "before")
    for number in count(1):
        more = "" if number == 1 else f"-{number}"
        kept = path.parent / "before" / f"{path.stem}-{date.today()}{more}{path.suffix}"
        try:
            with open(kept, "xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        atomic.sync(kept)
        atomic.sync(kept.parent)
        return kept
    raise AssertionError


def collect(notebooks: Path) -> dict[str, str]:
    """The sources of the exercise cells in a folder of notebooks, by the exercise's name."""
    cells = [cell for path in sorted(notebooks.glob("*.ipynb")) for cell in read_notebook(path).cells]
    return {
        cell.id.removesuffix("-exercise"): cell.source
        for cell in cells
        if "exercise" in cell.metadata.get("tags", [])
    }


def main(argv: Sequence[str] | None = None) -> int:
    show_every_letter()
    parser = argparse.ArgumentParser(prog="python -m lab_utils.course.stubs", description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--collect", type=Path, help="for authors: make stubs.json from this folder")
    options = parser.parse_args(argv)
    if options.collect:
        found = {name: source.split("\n") for name, source in collect(options.collect).items()}
        atomic.write_text(STUBS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        print(f"stubs: {plural(len(found), 'exercise')} in {STUBS.name}")
    elif not options.notebooks:
        parser.error("name the notebooks, for example notebooks/04_topk_routing.ipynb")
    code = 0
    for path in options.notebooks:
        try:
            print(one_line(f"stubs: {path.name}: {put_back_file(path)}"))
        except (ValueError, OSError) as error:
            why = (isinstance(error, OSError) and error.strerror) or error
            print(one_line(f"stubs: {path}: {why}"), file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
