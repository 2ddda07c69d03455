"""Guesses are scored and noted once; without a guess nothing stops."""

from types import SimpleNamespace

import pytest
import torch

from lab_utils.course import predict
from lab_utils.course.logbook import Logbook


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


@pytest.mark.parametrize(
    ("typed", "number"), [("30 %", 30.0), ("30%", 30.0), ("7 percent", 7.0), ("1,5", 1.5)]
)
def test_a_typed_number_may_have_a_percent_sign(typed, number):
    field = predict._NumberField(SimpleNamespace(value=typed))
    assert predict.Prediction("n", None, None, field).guess == number


def test_words_in_the_field_are_said_to_be_no_guess():
    field = predict._NumberField(SimpleNamespace(value="seven <b>"))
    found = predict.Prediction("n", None, None, field).score(7.0)
    assert found.text.startswith("Measured: 7. 'seven <b>' is no number, so it is no guess")
    assert Logbook.open().predictions == {}


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
    with pytest.raises(ValueError, match="guess='about 3' must be a number"):
        predict.predict("q", "How many?", guess="about 3")


def test_live_the_question_has_buttons_or_a_field(monkeypatch):
    shown = []
    monkeypatch.setenv("NANOKIMI_LIVE", "1")
    monkeypatch.setattr("lab_utils.course.predict.display", shown.append)
    choice = predict.predict("q", "<b>?", choices=("up", "down"))
    number = predict.predict("r", "How many?")
    (question, buttons), (_, field, refusal) = (box.children for box in shown)
    assert "&lt;b&gt;?" in question.value
    assert choice.guess is None and number.guess is None
    buttons.value = "down"
    assert choice.score("down").text.startswith("Your guess was right")
    assert buttons.description == field.description == "Your guess"
    field.value = "six"
    assert "&#x27;six&#x27; is no number, so it is no guess" in refusal.value and number.guess is None
    field.value = "2,5"
    assert number.guess == 2.5 and "is no number" not in refusal.value
    field.value = "many"
    assert number.guess is None


@pytest.mark.parametrize(
    "odd",
    [float("nan"), float("inf"), "about 3", None, [3], 1j],
    ids=["nan", "inf", "text", "None", "list", "complex"],
)
def test_what_is_no_number_is_no_guess_and_no_answer(odd):
    if odd is not None:
        with pytest.raises(ValueError, match="guess="):
            predict.predict("name", "How many?", guess=odd)
    with pytest.raises(ValueError, match=r"answer=.* must be a number, such as answer=3"):
        predict.predict("name", "How many?", guess=3).score(odd)
    assert not Logbook.open().predictions


def test_a_number_in_a_tensor_is_a_number():
    assert (
        "right" in predict.predict("name", "How many?", guess=torch.tensor(3.0)).score(torch.tensor(3.1)).text
    )
