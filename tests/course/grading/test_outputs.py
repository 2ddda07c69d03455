"""What the grader writes: it destroys no file of anybody's, and says on the way what is not there yet."""

import json
import os
import signal

import pytest

from lab_utils.course.grade import main
from tests.course.grading.test_class import rows_of
from tests.course.grading.test_grade import graded  # noqa: F401

ROSTER = "student,name,prefix\nada,Ada,\nalan,Alan,\ngrace,Grace,\n"


@pytest.fixture
def class_(graded, tmp_path):  # noqa: F811
    graded(class__ada__02="attend passed", class__alan__02="attend failed")
    (tmp_path / "roster.csv").write_text(ROSTER)
    (tmp_path / "points.yaml").write_text("attend: 3\n")
    (tmp_path / "notes.csv").write_text("my,notes\n")
    (tmp_path / "notes.json").write_text('[{"mine": 1}]')
    (tmp_path / "five.json").write_text("5")
    (tmp_path / "link.csv").symlink_to("roster.csv")
    (tmp_path / "class/ada/progress.json").write_text("{}")
    return ["class", "--roster", "roster.csv", "--points", "points.yaml"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--csv roster.csv", "--csv 'roster.csv': it is the roster"),
        ("--csv link.csv", "it is the roster"),
        ("--csv out/../roster.csv", "it is the roster"),
        ("--json points.yaml", "it is the file of the points"),
        ("--csv class/ada/02.ipynb", "it is the notebook ada/02.ipynb"),
        ("--json class/alan/../ada/02.ipynb", "it is the notebook ada/02.ipynb"),
        ("--json class/new.ipynb", "a notebook's name"),
        ("--json class/ada/progress.json", "it is no file of grades of an earlier run"),
        ("--json five.json", "it is no file of grades"),
        ("--json notes.json", "it is no file of grades"),
        ("--csv notes.csv", "it is no table of an earlier run"),
        ("--csv out --json out", "--csv names it too"),
        ("--csv out --json ./out", "--csv names it too"),
        ("--csv out --reports out", "--csv names it too"),
        ("--csv out --reports out/pages", "--csv names a file there"),
        ("--csv out/a --json out", "--csv has it as a folder"),
        ("--reports roster.csv", "it is the roster"),
        ("--reports notes.csv", "it is a file; name a folder"),
        ("--reports notes.csv/pages", "a part of it is a file"),
        ("--csv class", "it is a folder; name a file"),
        ("--csv notes.csv/x", "it is a file"),
        ("--json /dev/null", "not a file"),
    ],
)
def test_what_would_be_lost_is_refused_before_anything_is_written(class_, tmp_path, capsys, words, why):
    before = contents(tmp_path)
    assert main([*class_, *words.split()]) == 2
    shown = capsys.readouterr()
    assert (
        why in shown.err and len(shown.err.splitlines()) == 1 and "Errno" not in shown.err and not shown.out
    )
    assert contents(tmp_path) == before


def test_the_graders_own_files_are_written_again(class_, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "grades.csv").write_text("")
    words = [*class_, "--csv", "grades.csv", "--json", "grades.json", "--reports", "pages"]
    assert main(words) == 1
    (tmp_path / "class/alan/02.ipynb").write_text("attend passed")
    assert main(words) == 0
    assert [row["passed"] for row in rows_of(tmp_path / "grades.csv")] == ["1", "1", "0"]
    # The table may lie among the pages.
    assert main([*class_, "--csv", "pages/grades.csv", "--reports", "pages"]) == 0


def stop_at(monkeypatch, number):
    """Ctrl-C while the table is written for the notebook of this number."""
    from lab_utils.course import grade

    write, count = grade.Class._write, iter(range(1, 100))

    def write_and_stop(self, new):
        write(self, new)
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(grade.Class, "_write", write_and_stop)


def test_a_run_that_is_stopped_says_what_is_kept_and_what_waits(class_, tmp_path, capsys, monkeypatch):
    stop_at(monkeypatch, 1)
    with pytest.raises(SystemExit) as stopped:
        main([*class_, "--csv", "grades.csv", "--json", "grades.json"])
    assert stopped.value.code == 130
    said = "stopped after 1 of 2 notebooks; their grades are in 'grades.json' and 'grades.csv'"
    assert f"grade: {said}; the same command goes on from there\n" in capsys.readouterr().err
    rows = [(row["student"], row["why_not_graded"]) for row in rows_of(tmp_path / "grades.csv")]
    waits = {"ada": "", "alan": "not graded yet"}
    assert rows in (
        [*waits.items(), ("grace", "nothing was handed in")],
        [("ada", "not graded yet"), ("alan", ""), ("grace", "nothing was handed in")],
    )
    assert len(json.loads((tmp_path / "grades.json").read_text())) == 1
    monkeypatch.undo()


def test_without_a_record_the_same_command_begins_anew(class_, capsys, monkeypatch):
    stop_at(monkeypatch, 1)
    with pytest.raises(SystemExit):
        main([*class_, "--csv", "grades.csv"])
    assert "their grades are in 'grades.csv'\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--jobs 0", "argument --jobs: it must be a whole number from 1 to 64, not '0'"),
        ("--jobs 1.5", "a whole number from 1 to 64, not '1.5'"),
        ("--jobs x", "a whole number from 1 to 64, not 'x'"),
        ("--seconds nan", "argument --seconds: it must be a number of seconds above 0, not 'nan'"),
        ("--seconds 0", "a number of seconds above 0, not '0'"),
        ("--seconds inf", "a number of seconds above 0, not 'inf'"),
        ("--memory 0.01", "argument --memory: it must be a number of GB, 1 or more, not '0.01'"),
        ("--memory nan", "a number of GB, 1 or more"),
        ("--unknown", "unrecognized arguments: --unknown"),
    ],
)
def test_an_option_that_cannot_be_says_what_is_allowed(capsys, words, why):
    with pytest.raises(SystemExit) as error:
        main(["a.ipynb", *words.split()])
    shown = capsys.readouterr().err
    assert error.value.code == 2 and why in shown and len(shown.splitlines()) == 1
