"""docs/teaching.md says what the notebooks say: their minutes, and how many exercises they have."""

import re
from pathlib import Path

import nbformat
import pytest

from lab_utils.course.progress import COURSE
from tests.notebooks.rules import read_opening

ROOT = Path(__file__).parents[2]
TEACHING = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
ROWS = {
    cells[0][1:3]: cells
    for line in re.findall(r"^\| (\[\d\d\].*) \|$", TEACHING, re.M)
    if (cells := [cell.strip() for cell in line.split("|")])
}


def test_there_is_a_row_for_every_notebook_and_the_exercises_add_up():
    assert list(ROWS) == [chapter.number for chapter in COURSE]
    assert f"with {sum(len(c.exercises()) for c in COURSE)} exercises" in TEACHING


@pytest.mark.parametrize("chapter", COURSE, ids=lambda c: c.number)
def test_the_minutes_are_those_of_the_notebook(chapter):
    link, read, exercises, work, optional, *_ = ROWS[chapter.number]
    assert link == f"[{chapter.number}](../notebooks/{chapter.file})"
    takes = read_opening(nbformat.read(ROOT / "notebooks" / chapter.file, as_version=4)).takes
    told = re.search(r"(\d+) to read, (\d+) for the exercises", takes)
    to_read, for_work = told.groups() if told else (re.match(r"(\d+) minutes to read", takes)[1], "0")
    left_out = re.search(r"(\d+) of these minutes, is optional", takes)
    assert (read, work) == (to_read, for_work)
    assert optional == (left_out[1] if left_out else "")
    assert exercises == str(len(chapter.exercises()))
