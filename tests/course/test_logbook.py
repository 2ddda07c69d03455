"""The learner's file: kept whole, begun anew when damaged; predictions, hints and progress as it tells them."""

import json

import pytest

from lab_utils.course import hints, predict
from lab_utils.course.logbook import Logbook, logbook_path
from lab_utils.course.progress import COURSE, progress, reset_button


@pytest.fixture(autouse=True)
def own_logbook(tmp_path, monkeypatch):
    monkeypatch.setenv("NANOKIMI_PROGRESS", str(tmp_path / "deep" / "progress.json"))


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("NANOKIMI_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert logbook_path() == tmp_path / "nanokimi" / "progress.json"


def test_solved_stays_solved_and_a_stub_is_no_attempt():
    for status in ("not tried", "failed", "passed", "failed"):
        Logbook.open().note_check("attend", status)
    assert Logbook.open().checks == {"attend": {"solved": True, "attempts": 3}}
    assert Logbook.open().solved("attend") and not Logbook.open().solved("other")


def test_a_damaged_file_is_put_aside():
    path = logbook_path()
    path.parent.mkdir()
    path.write_text('{"checks": ')
    assert Logbook.open().checks == {}
    assert path.with_suffix(".damaged").read_text() == '{"checks": '
    Logbook.open().note_hint("attend", 2)
    assert json.loads(path.read_text())["hints"] == {"attend": 2}
    assert {p.name for p in path.parent.iterdir()} == {"progress.damaged", "progress.json"}


def test_reset_forgets_everything():
    Logbook.open().note_check("attend", "passed")
    Logbook.open().reset()
    assert not logbook_path().exists()
    assert not Logbook.open().solved("attend")


def test_hints_come_one_after_the_other_and_then_the_answer_is_named():
    said = [hints.hint("attend").text for _ in range(4)]
    assert [text[:11] for text in said] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"]
    assert "hint(attend)" in said[0] and "reveal(attend)" in said[2]
    assert Logbook.open().hints == {"attend": 3}


def test_reveal_shows_the_core_with_its_comments_in_a_fold():
    shown = hints.reveal("attend")
    assert shown.source.startswith("def attend(")
    assert "scaled_dot_product_attention" in repr(shown)
    assert shown._repr_html_().startswith(
        "<details><summary>The lab's version: nanokimi.attention.attend</summary>"
    )


def test_code_is_escaped():
    assert "<b>" not in hints.Code('x = "<b>"')._repr_html_()


# ---------------------------------------------------------------- predictions


def test_a_choice_is_right_or_not(capsys):
    right = predict.predict("one", "Up or down?", choices=("up", "down"), guess="up")
    assert right.score("up").text == "Your guess was right: you said up, measured was up."
    wrong = predict.predict("two", "Up or down?", choices=("up", "down"), guess="up")
    assert wrong.score("down").text == "Not what you guessed: you said up, measured was down."
    assert Logbook.open().predictions == {"one": True, "two": False}
    assert "Choices: up · down" in capsys.readouterr().out


@pytest.mark.parametrize(("guess", "right"), [(95.0, True), (111.0, False), (-100.0, False)])
def test_a_number_is_right_within_its_tolerance(guess, right):
    found = predict.predict("n", "How many?", guess=guess).score(100.0, tolerance=0.1)
    assert found.text.startswith("Your guess was right" if right else "Not what you guessed")
    assert "within 10% counts" in found.text


def test_no_guess_blocks_nothing_and_is_no_prediction():
    assert predict.predict("n", "How many?").score(3).text.startswith("Measured: 3. You made no guess")
    assert Logbook.open().predictions == {}


def test_the_second_guess_does_not_count():
    predict.predict("n", "How many?", guess=1.0).score(2.0)
    predict.predict("n", "How many?", guess=2.0).score(2.0)
    assert Logbook.open().predictions == {"n": False}


def test_what_is_no_choice_is_refused():
    with pytest.raises(ValueError, match="guess='left' is none of the choices: up, down"):
        predict.predict("q", "?", choices=("up", "down"), guess="left")
    with pytest.raises(ValueError, match="answer='left' is none of the choices"):
        predict.predict("q", "?", choices=("up", "down"), guess="up").score("left")


def test_live_the_question_has_buttons_or_a_field(monkeypatch):
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    choice = predict.predict("q", "<b>?", choices=("up", "down"))
    assert choice.guess is None
    choice._field.value = "down"
    assert choice.score("down").text.startswith("Your guess was right")
    number = predict.predict("r", "How many?")
    assert number.guess is None
    number._field.widget.value = "2,5"
    assert number.guess == 2.5
    number._field.widget.value = "many"
    assert number.guess is None


# ---------------------------------------------------------------- progress


def test_progress_counts_what_is_solved():
    assert progress("02").rows[0].solved == 0
    Logbook.open().note_check("attend", "passed")
    Logbook.open().note_hint("attend", 2)
    (row,) = progress("02").rows
    assert row.solved == 1 and row.total == len(row.chapter.exercises()) and row.hints == 2
    assert "attend" not in row.unsolved and "causal_mask" in row.unsolved
    assert f"1 of {row.total} solved, 2 hints; left: " in repr(progress("02"))
    assert "02 · Attention" in progress()._repr_html_()
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
