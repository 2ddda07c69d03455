"""Blank, the notebooks say "not tried yet"; with the revealed answers in their cells, every check passes.

That the blank notebooks run is nbval's part of `make test`; here they run with every stub replaced by its answer.
"""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.hints import reveal
from lab_utils.course.progress import COURSE
from lab_utils.machine.headless import run_notebook
from tests.sample import sample

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
WITH_EXERCISES = [chapter for chapter in COURSE if chapter.exercises()]


def cells_tagged(notebook: dict, tag: str) -> dict[str, dict]:
    """Cells with this tag by their id."""
    return {cell["id"]: cell for cell in notebook["cells"] if tag in cell["metadata"].get("tags", [])}


def text_of(cell: dict) -> str:
    """What a code cell shows as plain text."""
    outputs = (output.get("data", {}).get("text/plain", "") for output in cell["outputs"])
    return "".join(part for text in outputs for part in text)


def solve(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Every stub replaced by what `reveal` shows: it must run in its own cell, after all that stands above it."""
    for identity, cell in cells_tagged(notebook, "exercise").items():
        cell["source"] = reveal(identity.removesuffix("-exercise")).source
    return notebook


def test_every_notebook_of_the_map_is_there_and_no_other():
    assert sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")) == [chapter.file for chapter in COURSE]


@pytest.mark.parametrize("chapter", COURSE, ids=lambda c: c.number)
def test_every_exercise_stands_in_its_notebook_in_four_cells(chapter):
    notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
    names = [exercise.name for exercise in chapter.exercises()]
    for tag in ("derivation", "exercise", "check", "handover"):
        found = [identity.removesuffix(f"-{tag}") for identity in cells_tagged(notebook, tag)]
        assert sorted(found) == sorted(names), tag


@pytest.mark.parametrize("chapter", WITH_EXERCISES, ids=lambda c: c.number)
def test_the_committed_notebook_is_blank(chapter):
    notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
    for cell in cells_tagged(notebook, "exercise").values():
        assert "raise NotImplementedError" in "".join(cell["source"])
    for identity, cell in cells_tagged(notebook, "check").items():
        assert "not tried yet" in text_of(cell), identity


@pytest.mark.parametrize("chapter", WITH_EXERCISES, ids=lambda c: c.number)
def test_what_the_panels_tell_to_call_is_there(chapter):
    """A check says "Stuck? hint(f)", a hint says "reveal(f)": both must be names of the notebook."""
    notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    imported = {
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {"check", "hint", "reveal", "progress"} <= imported


@pytest.mark.parametrize("chapter", COURSE, ids=lambda c: c.number)
def test_three_predictions_are_asked_for(chapter):
    notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    asked = re.findall(r'predict\(\s*"([^"]+)"', code)
    assert len(set(asked)) == len(asked) >= 3
    assert all(name.startswith(f"{chapter.number}-") for name in asked)
    assert code.count(".score(") >= len(asked)


@pytest.mark.parametrize("chapter", COURSE, ids=lambda c: c.number)
def test_the_answer_to_a_question_is_shown(chapter):
    """A notebook shows the value of a cell's last line alone; a score before it would be seen by nobody."""
    notebook = json.loads((NOTEBOOKS / chapter.file).read_text(encoding="utf-8"))
    cells = [ast.parse("".join(c["source"])).body for c in notebook["cells"] if c["cell_type"] == "code"]
    unseen = [ast.unparse(line) for cell in cells for line in cell[:-1] if ".score(" in ast.unparse(line)]
    assert unseen == []


@pytest.mark.parametrize("chapter", sample(WITH_EXERCISES, 4), ids=lambda c: c.number)
def test_solved_every_check_passes(chapter, tmp_path):
    notebook = solve(nbformat.read(NOTEBOOKS / chapter.file, as_version=4))
    start, end = tmp_path / chapter.file, tmp_path / f"solved_{chapter.file}"
    nbformat.write(notebook, start)
    run_notebook(start, end, {}, {"NANOKIMI_PROGRESS": str(tmp_path / "progress.json")})
    ran = json.loads(end.read_text(encoding="utf-8"))
    checks = {identity: text_of(cell) for identity, cell in cells_tagged(ran, "check").items()}
    assert {identity: text for identity, text in checks.items() if ": passed" not in text} == {}
    noted = json.loads((tmp_path / "progress.json").read_text())["checks"]
    assert {name for name, check in noted.items() if check["solved"]} == {e.name for e in chapter.exercises()}


def test_there_is_no_exercise_without_a_notebook():
    assert {e.notebook for e in all_exercises().values()} <= {chapter.number for chapter in COURSE}
