"""Grading: the exercise cells decide, a broken cell fails, and nothing runs for ever."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.grade import as_text, main
from lab_utils.course.grading.one import Grade, Graded, NotGradable, grade
from lab_utils.machine.linux import find_tree, read_processes

RIGHT = """import torch
def causal_mask(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)"""
STUB = "def causal_mask(n_queries, n_keys, device):\n    raise NotImplementedError"
SHIFTED = RIGHT.replace("tril(n_keys - n_queries)", "tril(n_keys - n_queries - 1)")


def notebook(tmp_path, *answers: tuple[str, str], name: str = "02_of_a_learner.ipynb"):
    cells = []
    for exercise, source in answers:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["exercise"]})
        cell["id"] = f"{exercise}-exercise"
        # The learner's check cell says what it likes: it is not asked.
        cells += [cell, nbformat.v4.new_code_cell("raise SystemExit", metadata={"tags": ["check"]})]
    path = tmp_path / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def grade_one(path, exercise: str = "causal_mask", **bounds) -> Grade:
    return next(g for g in grade(path, **bounds) if g.exercise == exercise)


def test_a_chapter_is_graded_whole_and_the_mistakes_are_named(tmp_path):
    imported = "from nanokimi.attention import split_heads"
    path = notebook(
        tmp_path, ("causal_mask", SHIFTED), ("attend", "def attend(q k): pass"), ("split_heads", imported)
    )
    grades = {g.exercise: g for g in grade(path)}
    assert list(grades) == [e.name for e in all_exercises().values() if e.notebook == "02"]
    assert grades["causal_mask"].status == "failed"
    assert grades["causal_mask"].mistake == "mask_hides_the_token_itself"
    assert grades["causal_mask"].says == "The mask is shifted by one: a token cannot see itself."
    assert grades["attend"].says.startswith("The cell raises SyntaxError")
    assert grades["split_heads"].says == "It is the core's own function, imported or built on."
    missing = "The exercise's cell is missing: nothing in the notebook defines join_heads."
    assert (grades["join_heads"].status, grades["join_heads"].says) == ("missing", missing)


def test_right_and_untouched(tmp_path):
    """The notebook's own names, its folder and what it has set do no harm to a right answer."""
    harm = "import os, torch; globals = print = len = None; torch.set_grad_enabled(False); os.chdir('/')\n"
    harm += "torch.set_default_dtype(torch.float64); torch.equal = torch.arange = None\n"
    answers = (
        ("causal_mask", harm + RIGHT),
        ("split_heads", "raise NotImplementedError('\\x1b[2J')"),
        ("join_heads", "x = 1"),
    )
    stub = "def attend(q, k, v, scale, visible=None):\n    raise NotImplementedError"
    grades = {g.exercise: g for g in grade(notebook(tmp_path, *answers, ("attend", stub)))}
    assert grades["causal_mask"].status == "passed"
    assert grades["attend"].status == "not tried"
    assert grades["split_heads"].says == r"The cell raises NotImplementedError: \x1b[2J"
    assert "defines nothing" in grades["join_heads"].says


def test_time_and_memory_are_bounded(tmp_path):
    endless = notebook(tmp_path, ("causal_mask", "while True: pass"), ("attend", RIGHT))
    assert "within 2 s" in grade_one(endless, "attend", seconds=2).says
    greedy = RIGHT.replace("    return", "    torch.zeros(2**30).fill_(1)\n    return")
    found = grade_one(notebook(tmp_path, ("causal_mask", greedy)), memory_gb=3)
    assert found.status == "failed" and "alloc" in found.says


def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    path, out = notebook(tmp_path, ("causal_mask", RIGHT)), tmp_path / "grades.json"
    assert main([str(path), "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    n = len([e for e in all_exercises().values() if e.notebook == "02"])
    assert "causal_mask" in printed and printed.endswith(f"1 of {n} exercises passed\n")
    row = json.loads(out.read_text())[0]
    assert row | {"digest": "", "lab": ""} == {
        "notebook": path.name, "exercise": "causal_mask", "status": "passed", "says": "", "mistake": "", "report": [],
        "path": path.name, "numbers": ["02"], "made_with": "", "digest": "", "lab": "",
    }  # fmt: skip


@pytest.fixture
def graded(monkeypatch, tmp_path):
    """Files that are graded without a run: each passes, but for those whose bytes name a reason or another status."""
    monkeypatch.chdir(tmp_path)
    seen = []

    def grade_or_refuse(path, data, *rest):
        seen.append(str(path))
        if data.startswith(b"not gradable"):
            raise NotGradable(f"{path}: {data.decode()}")
        name, status = (data.decode() or "attend passed").split(" ", 1)
        return Graded((Grade(path.name, name, status, "", "", ("A line.",)),), ("02",), "")

    monkeypatch.setattr("lab_utils.course.grade.grade_file", grade_or_refuse)
    monkeypatch.setattr("lab_utils.course.grade.preload", contextlib.nullcontext)

    def write(**files: str):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".ipynb").write_text(text)

    write.seen = seen
    return write


def test_everything_passed_is_said_by_the_exit_code(graded):
    graded(a="attend passed", b="attend failed")
    assert main(["a.ipynb"]) == 0
    assert main(["b.ipynb"]) == 1


def test_a_signal_ends_the_notebook_and_keeps_the_rows(tmp_path):
    """SIGTERM while the second notebook runs: the first one's rows are there, and nothing runs on."""
    right = notebook(tmp_path, ("causal_mask", RIGHT), name="right.ipynb")
    endless = notebook(tmp_path, ("causal_mask", "while True: pass"), name="endless.ipynb")
    out = tmp_path / "not" / "yet" / "grades.json"
    words = [sys.executable, "-m", "lab_utils.course.grade", str(right), str(endless), "--json", str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        first = process.stdout.readline()
        while not out.exists():
            time.sleep(0.1)
        time.sleep(2)
        tree = find_tree(process.pid)
        process.terminate()
        said = process.communicate(timeout=180)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert first == "right.ipynb\n" and "Traceback" not in said
    assert [row["status"] for row in json.loads(out.read_text()) if row["exercise"] == "causal_mask"] == [
        "passed"
    ]
    assert len(tree) > 1 and not tree.keys() & read_processes().keys()


def test_one_bad_file_costs_its_own_row(graded, tmp_path, capsys):
    graded(a="", b="not gradable today", c="")
    out = tmp_path / "grades.json"
    assert main(["a.ipynb", "b.ipynb", "c.ipynb", "--json", str(out)]) == 2
    shown = capsys.readouterr()
    assert shown.out.endswith("2 of 2 exercises passed\n")
    assert shown.err == "grade: b.ipynb: not gradable today\n"
    rows = [(row["notebook"], row["status"], row["says"]) for row in json.loads(out.read_text())]
    assert rows[1] == ("b.ipynb", "not graded", "b.ipynb: not gradable today")
    assert [status for _, status, _ in rows] == ["passed", "not graded", "passed"]


def test_a_place_that_cannot_hold_the_grades_is_said_before_anything_runs(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "grades.json"):
        assert main(["a.ipynb", "--json", str(place)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("kind", ["link", "pipe", "large", "a\x1b]0;x\x07\u202e.ipynb"])
def test_what_is_no_file_is_refused_without_being_read(tmp_path, capsys, kind):
    path = tmp_path / "x.ipynb"
    if kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        with open(path, "wb") as file:
            file.truncate(10**9)
    else:
        path = tmp_path / kind
    out = tmp_path / "grades.json"
    assert main([str(path), "--json", str(out)]) == 2
    shown = capsys.readouterr()
    row = json.loads(out.read_text())[0]
    for text in (shown.out, shown.err, row["notebook"], row["says"]):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert len(shown.err.splitlines()) == 1 and row["status"] == "not graded"


@pytest.mark.parametrize(
    "words", [["--seconds", "0"], ["--seconds", "nan"], ["--memory", "-1"], ["--memory", "x"]]
)
def test_bounds_are_positive_numbers(words, capsys):
    with pytest.raises(SystemExit) as error:
        main(["a.ipynb", *words])
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "no such file"), ("{", "not a notebook"), ("empty", "no exercise of the course")],
)
def test_what_cannot_be_graded_is_one_line(tmp_path, capsys, content, why):
    path = tmp_path / "x.ipynb"
    if content == "empty":
        nbformat.write(nbformat.v4.new_notebook(), path)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(NotGradable, match=why):
        grade(path)
    assert main([str(path)]) == 2
    assert why in capsys.readouterr().err


def test_the_table():
    table = as_text([Grade("a", "f", "passed"), Grade("a", "longer", "failed", "Why.", "m")])
    assert table == "a\n  f       passed\n  longer  failed     Why."


def test_files_of_the_same_name_are_told_apart_by_their_folders(graded, tmp_path, capsys):
    graded(ada__04="", alan__04="", other="")
    out = tmp_path / "grades.json"
    assert main(["ada/04.ipynb", "alan/04.ipynb", "other.ipynb", "--json", str(out)]) == 0
    assert [row["notebook"] for row in json.loads(out.read_text())] == [
        "ada/04.ipynb",
        "alan/04.ipynb",
        "other.ipynb",
    ]
