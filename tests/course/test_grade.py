"""Grading: the exercise cells decide, a broken cell fails, and nothing runs for ever."""

import json

import nbformat
import pytest

from lab_utils.course.chapters import all_exercises
from lab_utils.course.grade import Grade, NotGradable, as_text, grade, main

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


@pytest.mark.slow
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
    assert grades["split_heads"].says == "It is the core's own function, imported."
    assert grades["join_heads"].says == "The exercise's cell is missing."


@pytest.mark.slow
def test_right_and_untouched(tmp_path):
    assert grade_one(notebook(tmp_path, ("causal_mask", RIGHT))).status == "passed"
    assert grade_one(notebook(tmp_path, ("causal_mask", STUB))).status == "not tried"
    assert "defines nothing" in grade_one(notebook(tmp_path, ("causal_mask", "x = 1"))).says


@pytest.mark.slow
def test_time_and_memory_are_bounded(tmp_path):
    endless = notebook(tmp_path, ("causal_mask", "while True: pass"), ("attend", RIGHT))
    assert "within 2 seconds" in grade_one(endless, "attend", seconds=2).says
    greedy = RIGHT.replace("    return", "    torch.zeros(2**30).fill_(1)\n    return")
    found = grade_one(notebook(tmp_path, ("causal_mask", greedy)), memory_gb=3)
    assert found.status == "failed" and "alloc" in found.says


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(tmp_path, capsys):
    path, out = notebook(tmp_path, ("causal_mask", RIGHT)), tmp_path / "grades.json"
    assert main([str(path), "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    n = len([e for e in all_exercises().values() if e.notebook == "02"])
    assert "causal_mask" in printed and printed.endswith(f"1 of {n} exercises passed\n")
    assert json.loads(out.read_text())[0] == {
        "notebook": path.name, "exercise": "causal_mask", "status": "passed", "says": "", "mistake": ""
    }  # fmt: skip


def test_everything_passed_is_said_by_the_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lab_utils.course.grade.grade", lambda *_: [Grade("a.ipynb", "causal_mask", "passed")]
    )
    assert main(["a.ipynb"]) == 0


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
    table = as_text(
        [Grade("a", "f", "passed"), Grade("a", "longer", "failed", "Why.", "m"), Grade("b", "g", "passed")]
    )
    assert (
        table
        == "a\n  f       passed\n  longer  failed     Why.\nb\n  g       passed\n2 of 3 exercises passed"
    )
