"""Judge a learner's notebooks: python -m lab_utils.course.grade notebooks/04_*.ipynb [--json grades.json]

Each notebook runs in its own kernel, with bounds on time and memory. After every exercise cell the grader judges the
function that the cell defines; the learner's own check cells do not count. Exit code 0: every exercise of every
notebook passed; 1: not all; 2: a file that cannot be graded. A learner's code runs with your rights on your machine:
grade the work of strangers in a container.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.judge import judge
from lab_utils.course.judgement import sentences
from lab_utils.machine.headless import ThisInterpreter

MIME = "application/vnd.nanokimi.grade+json"
SECONDS, MEMORY_GB = 300.0, 8.0
PASSED, FAILED, NOT_TRIED = "passed", "failed", "not tried"


class NotGradable(ValueError):
    """A file is no notebook of the course. The message is one line that says why."""


@dataclass(frozen=True)
class Grade:
    """The judgement on one exercise. `says` is why it did not pass: the diagnosis where the mistake is a known one."""

    notebook: str
    exercise: str
    status: str
    says: str = ""
    mistake: str = ""


# ---------------------------------------------------------------- in the learner's kernel


def judge_in_kernel(name: str, namespace: dict[str, Any]) -> None:
    """Display the judgement on `namespace[name]` as JSON. Runs in the kernel, after the exercise cell."""
    from IPython.display import display

    # Only the kernel displays; the grader itself needs no IPython.
    display({MIME: _judge_by_name(name, namespace.get(name)), "text/plain": ""}, raw=True)


def _judge_by_name(name: str, answer: Callable | None) -> dict[str, str]:
    exercise = find(name)
    if answer is None:
        return {"status": FAILED, "says": f"The cell defines nothing called {name}.", "mistake": ""}
    if answer is exercise.core:
        return {"status": FAILED, "says": "It is the core's own function, imported.", "mistake": ""}
    result = judge(exercise, answer)
    found = result.diagnosis
    if result.status == PASSED:
        return {"status": PASSED, "says": "", "mistake": ""}
    says = found.says if found else sentences(result)[0]
    return {"status": result.status, "says": says, "mistake": found.name if found else ""}


def bound_memory(gb: float) -> None:
    """Limit the memory of this process to `gb` * 10^9 bytes, where the system can do that (Linux)."""
    if sys.platform == "linux":
        import resource

        # Data, not address space: torch reserves far more addresses than it ever uses.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(gb * 1e9), hard))


# ---------------------------------------------------------------- the grader


def grade(path: Path, seconds: float = SECONDS, memory_gb: float = MEMORY_GB) -> list[Grade]:
    """The grades of one learner's notebook, after a run of it, in the order of the course."""
    notebook = _read(path)
    names = [_exercise_of(cell) for cell in notebook.cells]
    expected = _find_expected([name for name in names if name], path)
    judging = _add_judging_cells(notebook, names, memory_gb)
    why_not_reached = _run(judging, seconds)
    found = {}
    for name, exercise_cell, judgement in _read_judgements(judging):
        error = next((o for o in exercise_cell.outputs if o.output_type == "error"), None)
        if error is not None:
            says = f"The cell raises {error.ename}: {(error.evalue.splitlines() or [''])[0]}"
            found[name] = {"status": FAILED, "says": says, "mistake": ""}
        elif judgement is not None:
            found[name] = judgement
    missing = {"status": FAILED, "says": why_not_reached or "The exercise's cell is missing.", "mistake": ""}
    return [Grade(path.name, name, **found.get(name, missing)) for name in expected]


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise NotGradable(f"{path}: no such file") from None
    except (ValueError, nbformat.reader.NotJSONError):
        raise NotGradable(f"{path}: not a notebook") from None


def _exercise_of(cell: nbformat.NotebookNode) -> str | None:
    """The exercise that a cell answers. A learner's front end keeps the cell's id and tags."""
    name = cell.get("id", "").removesuffix("-exercise")
    return name if "exercise" in cell.metadata.get("tags", []) and name in all_exercises() else None


def _find_expected(found: Sequence[str], path: Path) -> list[str]:
    """All exercises of each chapter of which the notebook has some, so that a deleted cell counts as missing."""
    if not found:
        raise NotGradable(f"{path}: it holds no exercise of the course")
    chapters = {find(name).notebook for name in found}
    return [e.name for e in all_exercises().values() if e.notebook in chapters]


def _add_judging_cells(
    notebook: nbformat.NotebookNode, names: Sequence[str | None], memory_gb: float
) -> nbformat.NotebookNode:
    """The notebook up to its last exercise, with a judging cell after each exercise and without the check cells."""
    bound = f"from lab_utils.course.grade import bound_memory; bound_memory({memory_gb!r})"
    cells = [nbformat.v4.new_code_cell(bound)]
    last = max(i for i, name in enumerate(names) if name)
    for cell, name in zip(notebook.cells[: last + 1], names):
        if cell.cell_type != "code" or "check" in cell.metadata.get("tags", []):
            continue
        cells.append(nbformat.v4.new_code_cell(cell.source, metadata={"exercise": name} if name else {}))
        if name:
            source = (
                f"from lab_utils.course.grade import judge_in_kernel; judge_in_kernel({name!r}, globals())"
            )
            cells.append(nbformat.v4.new_code_cell(source, metadata={"judges": name}))
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def _run(notebook: nbformat.NotebookNode, seconds: float) -> str:
    """Run the notebook within `seconds`; returns why it did not come to its end, or an empty string."""
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        environ = dict(os.environ)
        # Small sizes, no widgets, and the learner's own logbook untouched.
        os.environ |= {
            "NANOKIMI_PROFILE": "smoke",
            "NANOKIMI_LIVE": "0",
            "NANOKIMI_PROGRESS": str(Path(folder) / "progress.json"),
        }
        client = NotebookClient(
            notebook,
            kernel_manager_class=ThisInterpreter,
            allow_errors=True,
            resources={"metadata": {"path": folder}},
            timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
        )
        try:
            client.execute()
        except CellTimeoutError:
            return f"Not reached: the notebook did not get there within {seconds:g} seconds."
        except DeadKernelError:
            return "Not reached: the kernel died earlier."
        finally:
            os.environ.clear()
            os.environ.update(environ)
    return ""


def _read_judgements(
    notebook: nbformat.NotebookNode,
) -> Iterator[tuple[str, nbformat.NotebookNode, dict[str, str] | None]]:
    """Each exercise's name, its cell, and the judgement that the cell after it displayed; None if that did not run."""
    for cell, judging in zip(notebook.cells, notebook.cells[1:]):
        if name := judging.metadata.get("judges"):
            displayed = [
                o.data[MIME] for o in judging.outputs if o.output_type == "display_data" and MIME in o.data
            ]
            yield name, cell, displayed[-1] if displayed else None


def as_text(grades: Sequence[Grade]) -> str:
    """One line per exercise, and a last line that counts them."""
    width = max(len(g.exercise) for g in grades)
    lines, notebook = [], ""
    for g in grades:
        if g.notebook != notebook:
            notebook = g.notebook
            lines.append(notebook)
        lines.append(f"  {g.exercise:{width}s}  {g.status:9s}  {g.says}".rstrip())
    passed = sum(g.status == PASSED for g in grades)
    return "\n".join([*lines, f"{passed} of {len(grades)} exercises passed"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab_utils.course.grade")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="a file for the grades")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for one notebook")
    parser.add_argument(
        "--memory", type=float, default=MEMORY_GB, help="GB of memory for one notebook (Linux)"
    )
    options = parser.parse_args(argv)
    grades: list[Grade] = []
    try:
        for path in options.notebooks:
            grades += grade(path, options.seconds, options.memory)
    except NotGradable as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2
    print(as_text(grades))
    if options.json:
        options.json.write_text(json.dumps([asdict(g) for g in grades], indent=1) + "\n", encoding="utf-8")
    return 0 if all(g.status == PASSED for g in grades) else 1


if __name__ == "__main__":
    sys.exit(main())
