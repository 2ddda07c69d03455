"""What a reader may pass by mistake: one sentence says what is allowed."""

import math

import pytest
import torch

from lab_utils.course.check import check
from lab_utils.course.hints import hint, reveal, show_code
from lab_utils.course.predict import predict
from lab_utils.course.start_again import start_again
from lab_utils.course.yours import yours
from nanokimi.attention import attend

SECONDS = [-1, 0, math.nan, math.inf, "x", None, True, 86_401, torch.tensor(3.0), len]


def attempt(call) -> str:
    with pytest.raises(ValueError) as caught:
        call()
    says = str(caught.value)
    assert "\n" not in says and "0x" not in says
    return says


@pytest.mark.parametrize("seconds", SECONDS, ids=repr)
def test_a_time_is_a_number_above_0_and_at_most_a_day(seconds, tmp_path):
    allowed = "must be a number above 0 and at most 86400 (a day), such as seconds=10, not "
    assert allowed in attempt(lambda: check(attend, seconds=seconds))
    assert allowed in attempt(lambda: yours(tmp_path, seconds=seconds))


def test_a_time_may_be_whole_or_not(tmp_path):
    for seconds in (1, 0.5, 86_400):
        assert check(attend, seconds=seconds).status == "handed over"
        assert "No notebook of the course" in repr(yours(tmp_path, seconds=seconds))


@pytest.mark.parametrize("what", ["attend", 2, None, torch.ones(2)], ids=repr)
def test_only_a_function_or_a_class_has_code_to_show(what):
    assert "is no function and no class: name one without quotes" in attempt(lambda: show_code(what))


def test_code_that_is_not_python_is_not_known():
    for what in (len, int, torch.relu):
        assert attempt(lambda what=what: show_code(what)).startswith("its source is not known")
    assert "def attend(" in show_code(attend).source


def test_a_hint_and_an_answer_need_a_name():
    assert attempt(hint) == "a hint for what? Name your function, as in hint(attend)"
    assert attempt(reveal) == "reveal what? Name your function, as in reveal(attend)"
    for ask in (hint, reveal):
        assert attempt(lambda ask=ask: ask(5)).endswith(f"and do not call it, as in {ask.__name__}(attend)")


@pytest.mark.parametrize("folder", [2, None, ["notebooks"], b"notebooks", len], ids=str)
def test_the_folder_of_yours_is_a_name(folder):
    assert 'must be the name of a folder, as in yours("notebooks"), not ' in attempt(lambda: yours(folder))


def test_what_is_no_kimi_has_no_weights_to_copy(tmp_path):
    mine = yours(tmp_path)
    for model in ("x", None, torch.nn.Linear(1, 1)):
        assert "must be a Kimi, as Kimi(cfg) makes it" in attempt(lambda model=model: mine.like(model))
        compare = lambda model=model: mine.compare(model, torch.ones(1, 1).long())
        assert "must be a Kimi" in attempt(compare)


def test_a_guess_is_scored_within_a_share_of_0_or_more():
    guess = predict("n", "How many?", guess=1.0)
    assert "tolerance='x' must be a number" in attempt(lambda: guess.score(1.0, tolerance="x"))
    assert "tolerance=nan must be a number" in attempt(lambda: guess.score(1.0, tolerance=math.nan))
    assert "tolerance=-1 must be 0 or more" in attempt(lambda: guess.score(1.0, tolerance=-1))
    assert guess.score(1.0, tolerance=0).text.startswith("Your guess was right")


@pytest.mark.parametrize("choices", [(), []])
def test_a_question_with_choices_has_some(choices):
    assert "must hold what can be chosen" in attempt(lambda: predict("n", "Up?", choices=choices))


@pytest.mark.parametrize("number", [2, "2", "02"])
def test_a_notebook_may_be_named_as_progress_takes_it(number):
    assert "02_attention.ipynb" in repr(start_again(number))


def test_what_is_no_number_of_a_notebook_is_said_without_an_address():
    for number, begin in ((lambda: 3, "a function is no notebook's number; known: 01, 02"),
                          (True, "a bool is no notebook's number"),
                          (2.0, "a float is no notebook's number"),
                          (99, "there is no notebook '99' with exercises; known"),
                          ("attend", "there is no notebook 'attend' with exercises; known")):  # fmt: skip
        assert attempt(lambda number=number: start_again(number)).startswith(begin)
