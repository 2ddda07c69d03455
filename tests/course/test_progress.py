"""How far the reader is, as the table and the reset button show it."""

import pytest

from lab_utils.course.logbook import Logbook
from lab_utils.course.progress import COURSE, progress, reset_button


def test_progress_counts_what_is_solved():
    assert progress("02").rows[0].solved == 0
    Logbook.open().note_check("attend", "passed")
    Logbook.open().note_hint("attend", 1)
    assert ", 1 hint; left: " in repr(progress("02"))
    Logbook.open().note_hint("attend", 2)
    (row,) = progress("02").rows
    assert row.solved == 1 and row.total == len(row.chapter.exercises()) and row.hints == 2
    assert "attend" not in row.unsolved and "causal_mask" in row.unsolved
    assert f"1 of {row.total} solved, 2 hints; left: " in repr(progress("02"))
    html = progress("02")._repr_html_()
    assert "02 · Attention" in html and "■□□□□□□□□□" in html and "No prediction made yet." in html
    with pytest.raises(ValueError, match="no notebook '99'"):
        progress("99")


def test_the_reset_button_asks_twice(monkeypatch):
    assert "Logbook.open().reset()" in repr(reset_button())
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    Logbook.open().note_check("attend", "passed")
    button = reset_button().children[0]
    button.click()
    assert Logbook.open().solved("attend")
    button.click()
    assert not Logbook.open().solved("attend")


def test_the_map_names_every_notebook_once():
    assert [chapter.number for chapter in COURSE] == [f"{i:02d}" for i in range(11)]
