"""Fifty hostile edits of a notebook: each is graded right, and none costs another one its row."""

import csv
import json

from lab_utils.course.grade import main
from tests.course.grading.edits import EDITS, edited
from tests.sample import sample


def test_there_are_fifty():
    assert len(EDITS) >= 50


def test_every_edited_notebook_is_graded_right(tmp_path):
    """One class: each edit is a student. Beside them lie files that are no notebooks."""
    edits = {name: EDITS[name][1] for name in sample(EDITS, 10)}
    places = {}
    for number, name in enumerate(edits):
        places[name] = f"{number:02d}/{'renamed' if number % 2 else '02_attention'}.ipynb"
        path = tmp_path / "class" / places[name]
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(edited(name)), encoding="utf-8")
    bad = {
        "empty.ipynb": b"",
        "half.ipynb": b'{"cells": [',
        "bytes.ipynb": b"\xff\xfe\x00",
        "list.ipynb": b"[1]",
    }
    for name, data in bad.items():
        (tmp_path / "class" / name).write_bytes(data)
    (tmp_path / "class" / "away.ipynb").symlink_to("/etc/passwd")
    table = tmp_path / "grades.csv"
    assert main([str(tmp_path / "class"), "--csv", str(table), "--jobs", "2", "--seconds", "200"]) == 2
    with open(table, encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(edits) + len(bad) + 1
    assert all(rows[name]["why_not_graded"] for name in (*bad, "away.ipynb"))
    found = {name: {e: rows[places[name]][e] for e in expected} for name, expected in edits.items()}
    assert found == edits
