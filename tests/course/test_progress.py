"""How far the reader is, as the table and the reset button show it."""

import ipywidgets
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
    assert "attend" not in row.left and "causal_mask" in row.left
    assert f"1 of {row.total} solved, 2 hints; left: " in repr(progress("02"))
    html = progress("02")._repr_html_()
    assert "02 · Attention" in html and "■□□□□□□□□□" in html and "No prediction made yet." in html


def test_the_predictions_of_a_notebook_are_its_own():
    for name, right in {"02-scale": True, "02-norm": False, "05-rank": True}.items():
        Logbook.open().note_prediction(name, right)
    assert "1 of 2" in repr(progress("02")) and "2 of 3" in repr(progress())


def test_what_was_read_and_what_was_begun_is_told_apart_from_what_is_solved():
    logbook = Logbook.open()
    logbook.note_check("causal_mask", "begun")
    logbook.note_reveal("attend")
    logbook.note_check("attend", "passed")
    logbook.note_check("split_heads", "passed")
    (row,) = progress("02").rows
    assert (row.solved, row.read, row.begun) == (1, 1, ("causal_mask",))
    assert f"1 of {row.total} solved, 1 read; left: causal_mask (begun), test_sound_attend" in repr(
        progress("02")
    )
    assert "■▨□□□□□□□□" in progress("02")._repr_html_()


@pytest.mark.parametrize("number", [2, "2", "02"])
def test_a_notebook_is_named_by_its_number(number):
    assert [row.chapter.number for row in progress(number).rows] == ["02"]


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ("99", "there is no notebook '99'; its number is one of 00, 01, "),
        (99, "there is no notebook '99'; its number"),
        (-1, "there is no notebook '-1'"),
        ("²", "there is no notebook '²'"),
        ("", "a str is no notebook's number"),
        (2.0, "a float is no notebook's number; its number is one of"),
        (True, "a bool is no notebook's number"),
        (progress, "a function is no notebook's number"),
        ("attend", r"attend is an exercise: progress\('02'\) shows the notebook that it is in"),
        ("\x1b[2J" * 99, "there is no notebook '"),
    ],
    ids=["99", "99, a number", "-1", "a power", "empty", "float", "bool", "function", "exercise", "escape"],
)
def test_what_is_no_notebook_is_told_in_one_line(odd, says):
    with pytest.raises(ValueError, match=f"^{says}") as refused:
        progress(odd)
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()


def test_the_reset_button_asks_twice(monkeypatch):
    assert "Logbook.open().reset()" in repr(reset_button())
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    Logbook.open().note_check("attend", "passed")
    button, message = reset_button().children
    button.click()
    assert "hints and guesses are erased" in message.value
    assert isinstance(message, ipywidgets.HTML)  # a label does not wrap
    assert Logbook.open().solved("attend")
    button.click()
    assert not Logbook.open().solved("attend")


def test_the_map_names_every_notebook_once():
    assert [chapter.number for chapter in COURSE] == [f"{i:02d}" for i in range(12)]
