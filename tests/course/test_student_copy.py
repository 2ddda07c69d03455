"""The students' copy holds no solution and no output; what it has for nbgrader and Otter is what they ask for.

Neither package is installed here. docs/teaching.md has the commands that were tried with both.
"""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import nbformat
import pytest
import torch

from lab_utils.course.grading.answers import _read_version
from lab_utils.course.grading.names import stubs
from lab_utils.course.hints import reveal
from lab_utils.course.must_pass import must_pass
from lab_utils.course.student_copy import main
from nanokimi import __version__, attention, mask

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TWO = NOTEBOOKS / "02_attention.ipynb"
NINE = """causal_mask attend test_sound_attend split_heads join_heads rope_frequencies apply_rope test_sound_decoding
    RMSNorm""".split()
WRONG = (
    "def causal_mask(n_queries, n_keys, device):\n    return torch.ones(n_queries, n_keys, dtype=torch.bool)"
)


def cells_of(path: Path) -> dict[str, dict]:
    return {cell["id"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}


def text(cell: dict) -> str:
    return "".join(cell["source"])


@pytest.fixture
def solved(tmp_path) -> Path:
    """Notebook 02 with answers, and with what other programs note in metadata."""
    notebook = nbformat.read(TWO, as_version=4)
    notebook.metadata["widgets"] = {"state": {}}
    for cell in notebook.cells:
        cell.metadata["execution"] = {"iopub.status.idle": "2026-01-01"}
        if cell.id.endswith("-exercise"):
            cell.source = reveal(cell.id.removesuffix("-exercise")).source
    path = tmp_path / TWO.name
    nbformat.write(notebook, path)
    return path


def copy(source: Path, *flags: str) -> Path:
    out = source.parent / "out"
    assert main([str(source), str(out), *flags]) == 0
    return out


def test_the_copy_is_the_course_without_answers_and_outputs(solved):
    out = copy(solved) / TWO.name
    committed, copied = cells_of(TWO), cells_of(out)
    assert list(copied) == list(committed)
    for identity, cell in copied.items():
        assert text(cell) == text(committed[identity])
        assert cell["metadata"] == committed[identity]["metadata"]  # the tags
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None
    metadata = json.loads(out.read_text())["metadata"]
    assert set(metadata) == {"kernelspec", "language_info", "nanokimi"}
    assert _read_version({"metadata": metadata}) == __version__  # the column made_with


def test_a_whole_folder_is_copied(tmp_path, capsys):
    assert main([str(NOTEBOOKS), str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in NOTEBOOKS.glob("*.ipynb")
    )
    assert capsys.readouterr().out == f"student_copy: 12 notebooks in {tmp_path}\n"


def test_what_could_give_a_solution_away_is_refused(solved, capsys):
    notebook = nbformat.read(solved, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("def attend(q): return my_solution"))
    nbformat.write(notebook, solved)
    out = solved.parent / "out"
    assert main([str(solved), str(out)]) == 2
    assert "a cell besides the exercise's own defines attend" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ("attend: -1", "attend must be a number, 0 or more, not -1"),
        ("attent: 1", "there is no exercise called 'attent'; did you mean attend?"),
        ("- attend", "it must have a line for each exercise, such as attend: 2"),
    ],
)
def test_wrong_points_are_one_line(solved, points, says, capsys):
    file = solved.parent / "points.yaml"
    file.write_text(points)
    assert main([str(solved), str(solved.parent / "out"), "--points", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("student_copy: ") and says in line


def test_a_copy_never_replaces_what_it_is_made_of(solved, capsys):
    before = solved.read_bytes()
    assert main([str(solved), str(solved.parent)]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert main([str(solved.parent / "none"), "x"]) == 2
    empty = solved.parent / "empty"
    empty.mkdir()
    assert main([str(empty), "x"]) == 2
    assert main([str(solved), str(solved / "below")]) == 2  # a file where the folder should be
    assert solved.read_bytes() == before


def test_lost_cells_are_told(solved, capsys):
    notebook = nbformat.read(solved, as_version=4)
    gone = {"attend-exercise", "attend-check", "attend-handover"}
    notebook.cells = [cell for cell in notebook.cells if cell.id not in gone]
    nbformat.write(notebook, solved)
    assert main([str(solved), str(solved.parent / "out")]) == 2
    assert "there is no cell for attend" in capsys.readouterr().err
    notebook = nbformat.read(TWO, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id != "attend-check"]
    nbformat.write(notebook, solved)
    assert main([str(solved), str(solved.parent / "out"), "--tool", "otter"]) == 2
    assert "there is no cell 'attend-check'" in capsys.readouterr().err


# ---------------------------------------------------------------- nbgrader

# nbgrader/nbgraderformat/v3.json, as of 0.9.6: what is required, and the kinds of all that is allowed before release.
REQUIRED = {"schema_version", "grade", "locked", "solution"}
KINDS = {
    "schema_version": int,
    "grade": bool,
    "locked": bool,
    "solution": bool,
    "task": bool,
    "grade_id": str,
}
REGION = re.compile(
    r"^ *### BEGIN {0}\n.*?^ *### END {0}\n?".replace("{0}", "(SOLUTION|HIDDEN TESTS)"), re.M | re.S
)


@pytest.fixture
def for_nbgrader(solved) -> dict[str, dict]:
    points = solved.parent / "points.yaml"
    points.write_text("attend: 2.5\n")
    return cells_of(copy(solved, "--tool", "nbgrader", "--points", str(points)) / TWO.name)


def test_nbgrader_finds_its_metadata(for_nbgrader):
    marked = {i: c["metadata"]["nbgrader"] for i, c in for_nbgrader.items() if "nbgrader" in c["metadata"]}
    assert set(marked) == {f"{name}-{part}" for name in NINE for part in ("exercise", "check")}
    for identity, found in marked.items():
        is_check = identity.endswith("-check")
        assert REQUIRED <= set(found) == {*KINDS, *(["points"] if is_check else [])}
        assert all(type(found[key]) is kind for key, kind in KINDS.items())
        assert found["schema_version"] == 3 and re.fullmatch(r"[a-zA-Z0-9_\-]*", found["grade_id"])
        assert (found["grade"], found["locked"], found["solution"]) == (is_check, is_check, not is_check)
        assert not is_check or found["points"] == (2.5 if identity == "attend-check" else 1)
    assert len({found["grade_id"] for found in marked.values()}) == 2 * len(NINE)


def test_nbgrader_takes_out_the_solution_only_and_hides_the_tests(for_nbgrader):
    """It replaces every line from BEGIN to END; a solution cell without them would be replaced as a whole."""
    for name in NINE:
        without = REGION.sub("", text(for_nbgrader[f"{name}-exercise"])).rstrip("\n")
        assert without == re.sub(r"^ *raise NotImplementedError\n?", "", stubs()[name], flags=re.M).rstrip(
            "\n"
        )
        assert REGION.sub("", text(for_nbgrader[f"{name}-check"])).rstrip("\n") == f"check({name})"


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (reveal("causal_mask").source, True),
        (stubs()["causal_mask"], False),
        (WRONG, False),
        ("from nanokimi.mask import causal_mask", False),
    ],
)
def test_the_hidden_test_fails_unless_the_answer_is_right(for_nbgrader, answer, passes):
    names = {"torch": torch, "Tensor": torch.Tensor, "check": lambda answer: None}
    exec(answer, names)
    test = text(for_nbgrader["causal_mask-check"])
    if passes:
        exec(test, names)
        return
    with pytest.raises(AssertionError, match="causal_mask: "):
        exec(test, names)


# ---------------------------------------------------------------- Otter


def test_otter_judges_each_answer_before_its_handover(solved, monkeypatch):
    out = copy(solved, "--tool", "otter") / TWO.stem
    marked = {
        i: c["metadata"]["otter"] for i, c in cells_of(out / TWO.name).items() if "otter" in c["metadata"]
    }
    assert marked == {f"{name}-check": {"tests": [name]} for name in NINE}
    assert sorted(path.stem for path in (out / "tests").iterdir()) == sorted(NINE)

    # What otter.test_files.exception_test does with such a file.
    package, module = ModuleType("otter"), ModuleType("otter.test_files")
    module.test_case = lambda: lambda function: SimpleNamespace(run=function)
    monkeypatch.setitem(sys.modules, "otter", package)
    monkeypatch.setitem(sys.modules, "otter.test_files", module)
    test: dict = {}
    exec((out / "tests" / "causal_mask.py").read_text(), test)
    assert (test["OK_FORMAT"], test["name"], test["points"]) == (False, "causal_mask", 1)
    test["test_causal_mask"].run(lambda n, m, device: mask.causal_mask(n, m, device))
    for wrong in (mask.causal_mask, None, lambda n, m, device: torch.ones(n, m, dtype=torch.bool)):
        with pytest.raises(AssertionError):
            test["test_causal_mask"].run(wrong)


def test_must_pass_says_what_the_check_says():
    with pytest.raises(AssertionError, match=r"(?s)attend: failed.*expected"):
        must_pass("attend", lambda q, k, v, scale, visible=None: v)
    with pytest.raises(AssertionError, match="the lab's own"):
        must_pass("attend", attention.attend)
    with pytest.raises(ValueError, match="did you mean attend"):
        must_pass("attendd", attention.attend)


@pytest.mark.parametrize(
    "source",
    [
        "if True:\n    def attend(q):\n        return q",
        "try:\n    from mysol import attend\nexcept ImportError:\n    pass",
        "for _ in range(1):\n    attend = lambda q: q",
        "with open('x'):\n    attend: object = print",
        "from mysol import attend",
    ],
)
def test_a_solution_in_any_place_that_the_grader_reads_is_refused(source, solved, capsys):
    notebook = nbformat.read(solved, as_version=4)
    notebook.cells.insert(3, nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, solved)
    assert main([str(solved), str(solved.parent / "out")]) == 2
    assert "a cell besides the exercise's own defines attend: is it a solution?" in capsys.readouterr().err
    assert not (solved.parent / "out").exists()


def test_a_file_is_no_folder_for_copies(solved, capsys):
    before = solved.read_bytes()
    other = solved.parent / "other.ipynb"
    other.write_text("mine")
    assert main([str(solved), str(other)]) == 2
    assert capsys.readouterr().err == f"student_copy: {other}: it is a file; name a folder for the copies\n"
    assert other.read_text() == "mine" and solved.read_bytes() == before
