"""Three hints, then the answer; the source of anything."""

from types import SimpleNamespace

import pytest

from lab_utils.course import hints
from lab_utils.course.chapters import all_exercises
from lab_utils.course.exercise import Exercise
from lab_utils.course.judge import judge
from lab_utils.course.logbook import Logbook


def test_hints_come_one_after_the_other_and_then_the_answer_is_named():
    said = [hints.hint("attend").text for _ in range(4)]
    assert [text[:11] for text in said] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"]
    assert "hint(attend)" in said[0] and "reveal(attend)" in said[2]
    assert Logbook.open().hints == {"attend": 3}


def test_reveal_shows_the_core_with_its_comments_in_a_fold():
    shown = hints.reveal("attend")
    assert shown.source.startswith("import torch") and "\n\n\ndef attend(" in shown.source
    assert "scaled_dot_product_attention" in repr(shown)
    fold, _, _ = shown._repr_html_().partition("</summary>")
    assert fold.startswith("<details>") and fold.endswith(">The lab's version: nanokimi.attention.attend")


def test_reveal_is_noted():
    hints.reveal("attend")
    assert Logbook.open().revealed == {"attend": True}


def test_a_handover_that_runs_with_all_cells_is_not_noted(monkeypatch):
    def shell_that_runs(cell: str) -> SimpleNamespace:
        return SimpleNamespace(get_parent=lambda: {"metadata": {"cellId": cell}})

    monkeypatch.setattr(hints, "get_ipython", lambda: shell_that_runs("test_sound_loss-handover"))
    hints.reveal("test_sound_loss")
    assert Logbook.open().revealed == {}
    monkeypatch.setattr(hints, "get_ipython", lambda: shell_that_runs("a-cell-of-the-reader"))
    hints.reveal("test_sound_loss")
    assert Logbook.open().revealed == {"test_sound_loss": True}


def answer_of(exercise: Exercise):
    """What a cell defines into which the revealed answer was pasted."""
    cell: dict = {"__name__": "__main__"}
    exec(compile(hints.reveal(exercise.name).source, "cell", "exec", dont_inherit=True), cell)
    return cell[exercise.core.__name__]


@pytest.mark.parametrize("exercise", all_exercises().values(), ids=lambda e: e.name)
def test_a_revealed_answer_runs_in_a_cell_of_its_own(exercise):
    assert answer_of(exercise) is not exercise.core


@pytest.mark.parametrize("exercise", all_exercises().values(), ids=lambda e: e.name)
def test_a_revealed_answer_is_right(exercise):
    assert judge(exercise, answer_of(exercise)).status == "passed"
