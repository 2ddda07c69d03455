"""Makes the notebooks that students get: python -m lab_utils.course.student_copy notebooks out/students

Exercise cells are stubs, outputs are empty; ids and tags stay, so that `grade` finds everything. --tool nbgrader adds
what nbgrader needs to give points, and --tool otter what Otter needs, with a folder of tests for each notebook; both
take the points of exercises from a file of lines like `attend: 2`. Exit code 0: all were written; 2: none was.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lab_utils.course.grading.cells import WORK, read_cell
from lab_utils.course.grading.points import read_points
from lab_utils.course.stubs import names_in, put_back
from lab_utils.machine.headless import read_notebook
from lab_utils.show.words import plural
from nanokimi import __version__
from nanokimi.system import atomic
from nanokimi.system.printable import one_line, show_every_letter

# What nbgrader takes out of the students' copy and puts back before it grades.
HIDDEN = """
### BEGIN HIDDEN TESTS
from lab_utils.course.must_pass import must_pass

must_pass("{name}", {name})
### END HIDDEN TESTS"""
OTTER_TEST = """\
OK_FORMAT = False

from otter.test_files import test_case

name = "{name}"
points = {points}


@test_case()
def test_{name}({name}):
    from lab_utils.course.must_pass import must_pass

    must_pass("{name}", {name})
"""


def make_student_copy(notebook: NotebookNode) -> None:
    """Take solutions, outputs and notes of other programs out of a notebook, in place.

    Raises `ValueError` where a solution may stand in another cell, or an exercise has lost its cell.
    """
    done = put_back(notebook)
    if elsewhere := [*done.elsewhere, *(n for n in _hidden_work(notebook) if n not in done.elsewhere)]:
        raise ValueError(
            f"a cell besides the exercise's own defines {', '.join(elsewhere)}: is it a solution? Delete it"
        )
    if done.lost:
        raise ValueError(
            f"there is no cell for {', '.join(done.lost)}: take it from the course's own notebook"
        )
    kept = {
        key: notebook.metadata[key] for key in ("kernelspec", "language_info") if key in notebook.metadata
    }
    # A table of grades tells which version a notebook was handed out with.
    notebook.metadata = nbformat.from_dict(kept | {"nanokimi": {"version": __version__}})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def _hidden_work(notebook: NotebookNode) -> list[str]:
    """The exercises that a cell besides their own answers in any place that the grader reads, as under `if True:`."""
    names = names_in(notebook)
    cells = [read_cell(c.source, names, c.get("id", "")) for c in notebook.cells if c.cell_type == "code"]
    bound = {
        each.name
        for cell in cells
        for each in cell.bound
        if each.kind == WORK and cell.identity != f"{each.name}-exercise"
    }
    return [name for name in names if name in bound]


def add_nbgrader(notebook: NotebookNode, points: Mapping[str, float]) -> None:
    """Make a student's copy the source of an nbgrader assignment, in place: its metadata, version 3."""
    cells = {cell.id: cell for cell in notebook.cells}
    for name in names_in(notebook):
        exercise, check = cells[f"{name}-exercise"], cells[f"{name}-check"]
        # Without a marked part nbgrader would replace the whole cell, signature and docstring too.
        exercise.source = re.sub(
            r"^( *)raise NotImplementedError$",
            r"\1### BEGIN SOLUTION\n\1raise NotImplementedError\n\1### END SOLUTION",
            exercise.source,
            flags=re.M,
        )
        check.source += HIDDEN.format(name=name)
        exercise.metadata["nbgrader"] = _of_nbgrader(exercise.id, solution=True)
        check.metadata["nbgrader"] = _of_nbgrader(check.id, grade=True, locked=True) | {
            "points": points[name]
        }


def _of_nbgrader(grade_id: str, **is_true: bool) -> dict:
    all_false = {"grade": False, "locked": False, "solution": False, "task": False}
    return {"schema_version": 3, "grade_id": grade_id} | all_false | is_true


def add_otter(notebook: NotebookNode, points: Mapping[str, float]) -> dict[str, str]:
    """Make Otter judge each answer after its check cell, before the handover; the tests by the names of their files."""
    cells = {cell.id: cell for cell in notebook.cells}
    for name in names_in(notebook):
        cells[f"{name}-check"].metadata["otter"] = {"tests": [name]}
    return {f"{name}.py": OTTER_TEST.format(name=name, points=points[name]) for name in names_in(notebook)}


def export(source: Path, out: Path, tool: str, points: Mapping[str, float]) -> dict[Path, str]:
    """The files to write for one notebook, with their texts. Raises `ValueError`, which names the notebook."""
    notebook = read_notebook(source)
    try:
        make_student_copy(notebook)
        nbformat.validate(notebook)
        files: dict[Path, str] = {}
        if tool == "otter":
            # Otter grades one notebook per assignment.
            out = out / source.stem
            files = {out / "tests" / file: text for file, text in add_otter(notebook, points).items()}
        elif tool == "nbgrader":
            add_nbgrader(notebook, points)
    except KeyError as error:
        raise ValueError(f"{source}: there is no cell {error}") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    target = out / source.name
    if target.exists() and target.samefile(source):
        raise ValueError(f"{source}: the copy would replace it; name another folder")
    return files | {target: nbformat.writes(notebook) + "\n"}


def main(argv: Sequence[str] | None = None) -> int:
    show_every_letter()
    parser = argparse.ArgumentParser(prog="python -m lab_utils.course.student_copy", description=__doc__)
    parser.add_argument("notebooks", type=Path, help="a notebook, or a folder of notebooks")
    parser.add_argument("out", type=Path, help="the folder for the copies")
    parser.add_argument("--tool", choices=("none", "nbgrader", "otter"), default="none")
    parser.add_argument(
        "--points", type=Path, help="a YAML file with points by exercise; others give 1 point"
    )
    options = parser.parse_args(argv)
    try:
        sources = [options.notebooks]
        if options.notebooks.is_dir():
            sources = sorted(options.notebooks.glob("*.ipynb"))
        if not sources:
            raise ValueError(f"{options.notebooks}: the folder has no notebooks")
        points = read_points(options.points)
        files: dict[Path, str] = {}
        for source in sources:
            files |= export(source, options.out, options.tool, points)
        if options.out.exists() and not options.out.is_dir():
            raise ValueError(f"{options.out}: it is a file; name a folder for the copies")
        for path, text in files.items():
            atomic.write_text(path, text)
    except (ValueError, OSError) as error:
        print(one_line(f"student_copy: {error}"), file=sys.stderr)
        return 2
    print(one_line(f"student_copy: {plural(len(sources), 'notebook')} in {options.out}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
