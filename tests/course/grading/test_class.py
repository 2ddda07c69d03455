"""A class: the table, pages for students, and a run that goes on where it was ended."""

import csv
import json
import os

import pytest

from lab_utils.course.grade import main
from lab_utils.course.grading.files import HandedIn, Student, read_logbook
from lab_utils.course.grading.one import NOT_GRADED, Grade, Graded
from lab_utils.course.grading.reports import as_page, report_name
from lab_utils.course.grading.table import Entry, make_rows, write_table
from tests.course.grading.test_grade import graded  # noqa: F401

ADA, ALAN = Student("a1", "Ada", "ada"), Student("a2", "Alan", "alan")


def entry(path, key, *grades, numbers=("02",)):
    return Entry(HandedIn(path, key), Graded(tuple(grades), numbers), "0+x")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- the table


def test_every_student_has_a_row_and_so_has_a_stranger(tmp_path):
    passed, failed = Grade("", "attend", "passed"), Grade("", "causal_mask", "failed", "Why.")
    files = [
        entry(tmp_path / "x", "ada/02.ipynb", passed, failed),
        entry(tmp_path / "y", "ada/03.ipynb", Grade("", "", NOT_GRADED, "not a notebook"), numbers=()),
        entry(tmp_path / "z", "who/02.ipynb", failed),
    ]
    rows = make_rows(files, {"attend": 3.0, "causal_mask": 0.5}, [ADA, ALAN])
    assert [
        (r["student"], r.get("path"), r["points"], r.get("max_points"), r.get("why_not_graded")) for r in rows
    ] == [
        ("a1", "ada/02.ipynb", "3", "3.5", None),
        ("a1", "ada/03.ipynb", 0, None, "not a notebook"),
        ("a2", None, 0, None, "nothing was handed in"),
        ("(not on the roster)", "who/02.ipynb", "0", "0.5", None),
    ]
    assert rows[0]["attend"] == "passed" and rows[0]["causal_mask"] == "failed"


def test_without_a_roster_the_first_folder_is_the_student(tmp_path):
    files = [entry(tmp_path, key, Grade("", "attend", "passed")) for key in ("ada/x/02.ipynb", "02.ipynb")]
    assert [row["student"] for row in make_rows(files, {"attend": 1.0}, None)] == ["ada", ""]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "=cmd|' /C calc'!A0"])
def test_no_cell_begins_a_formula(tmp_path, name):
    out = tmp_path / "grades.csv"
    made = entry(tmp_path, f"{name}/02.ipynb", Grade("", "attend", "passed"))
    write_table(out, [made], {"attend": 1.0}, [Student(name, name, "x")])
    for row in rows_of(out):
        assert not any(str(value).startswith(("=", "+", "-", "@")) for value in row.values())
        assert row["path"] in ("", f"'{name}/02.ipynb")


def test_a_name_of_many_lines_stays_one_cell_and_acts_on_no_terminal(tmp_path):
    out = tmp_path / "grades.csv"
    write_table(
        out,
        [entry(tmp_path, 'a",\n=1\x1b[2J/02.ipynb', Grade("", "attend", "passed"))],
        {"attend": 1.0},
        None,
    )
    (row,) = rows_of(out)
    assert row["path"].startswith('a", =1\\x1b[2J/02')


def test_what_the_logbook_says_is_data(tmp_path):
    book = {
        "checks": {"attend": {"solved": True, "attempts": 3}, "causal_mask": {"attempts": -5}, "x": 5},
        "revealed": {"attend": True, "causal_mask": False, "other": True},
    }
    (tmp_path / "progress.json").write_text(json.dumps(book))
    grades = [Grade("", "attend", "passed"), Grade("", "causal_mask", "failed")]
    (row,) = make_rows(
        [entry(tmp_path / "02.ipynb", "02.ipynb", *grades)], {"attend": 1, "causal_mask": 1}, None
    )
    assert (row["attempts"], row["revealed"]) == (3, "attend")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"checks": 5, "revealed": 7}', "[" * 10**5, None])
def test_a_logbook_that_is_none_leaves_its_cells_empty(tmp_path, content):
    if content is None:
        (tmp_path / "progress.json").symlink_to("/etc/passwd")
    else:
        (tmp_path / "progress.json").write_text(content)
    found = read_logbook(tmp_path / "deep" / "02.ipynb")
    assert found is None or (found.attempts, found.revealed) == ({}, frozenset())


# ---------------------------------------------------------------- pages for students


def test_a_page_says_what_the_panel_says_and_nothing_of_it_is_markup(tmp_path):
    lines = ("It is <b>wrong</b>.", "Look at this: the `mask`.")
    page = as_page(entry(tmp_path, "<i>ada</i>/02.ipynb", Grade("", "attend", "failed", lines[0], "", lines)))
    assert "It is &lt;b&gt;wrong&lt;/b&gt;." in page and "the <code>mask</code>" in page and "<i>" not in page
    assert "hint(" not in page


def test_pages_of_paths_that_look_alike_have_names_of_their_own():
    names = {
        report_name(key) for key in ("a/b.ipynb", "a b.ipynb", "a-b.ipynb", "../b.ipynb", "\udcff.ipynb")
    }
    assert len(names) == 5
    assert all(name == os.path.basename(name) and name.isascii() for name in names)


# ---------------------------------------------------------------- a whole run


def test_the_whole_of_it(graded, tmp_path, capsys):  # noqa: F811
    graded(
        **{"class__ada__02": "attend passed", "class__alan__02": "causal_mask failed", "class__who__02": ""}
    )
    (tmp_path / "roster.csv").write_text("student,name\nada,Ada\nalan,Alan\ngrace,Grace\n")
    words = [
        "class",
        "--csv",
        "out/grades.csv",
        "--roster",
        "roster.csv",
        "--reports",
        "out/pages",
        "--jobs",
        "2",
    ]
    assert main(words) == 1
    found = [(row["student"], row["passed"]) for row in rows_of(tmp_path / "out" / "grades.csv")]
    assert found == [("ada", "1"), ("alan", "0"), ("grace", "0"), ("(not on the roster)", "1")]
    assert len(list((tmp_path / "out" / "pages").glob("*.html"))) == 3


def test_a_later_run_grades_what_is_new_or_has_changed(graded, tmp_path):  # noqa: F811
    graded(class__a="attend failed", class__b="attend passed")
    assert main(["class", "--json", "grades.json"]) == 1
    assert len(graded.seen) == 2
    graded(class__a="attend passed", class__c="attend passed")
    assert main(["class", "--json", "grades.json"]) == 0
    assert sorted(os.path.basename(path) for path in graded.seen[2:]) == ["a.ipynb", "c.ipynb"]
    # Other bounds may give other grades.
    main(["class", "--json", "grades.json", "--seconds", "5"])
    assert len(graded.seen) == 7


@pytest.mark.parametrize("content", ["", "[]", '[{"path": "a", "digest": "b"}]'])
def test_a_record_that_cannot_be_read_is_made_anew(graded, tmp_path, content):  # noqa: F811
    graded(class__a="attend passed")
    (tmp_path / "grades.json").write_text(content)
    assert main(["class", "--json", "grades.json"]) == 0
    assert json.loads((tmp_path / "grades.json").read_text())[0]["status"] == "passed"


def test_a_folder_without_notebooks_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "no notebook is in it" in capsys.readouterr().err
