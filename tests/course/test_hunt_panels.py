"""What a learner is told of a test: which piece goes against it and how, and which mistakes it may have made."""

import inspect
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import nanokimi.moe
from lab_utils.course.attempt import run_cases
from lab_utils.course.chapters import find
from lab_utils.course.exercise import TEST, Exercise, Mistake
from lab_utils.course.grading.portable import pack_attempt
from lab_utils.course.grading.verdicts import judge_line
from lab_utils.course.judge import AnswerKey, judge
from lab_utils.course.judgement import CheckResult, Difference, panel_text
from lab_utils.course.lines_of_a_test import NO_ASSERT, SWALLOWED
from nanokimi.attention import attend as core_attend
from nanokimi.experts import ExpertBank

ATTEND, BLOCK = find("test_sound_attend"), find("test_sound_block")
KEYS = {exercise.name: AnswerKey(exercise) for exercise in (ATTEND, BLOCK)}


def says(test: Callable, exercise: Exercise = ATTEND) -> str:
    result = judge(exercise, test, key=KEYS[exercise.name])
    assert result.status == "failed"
    return repr(result).splitlines()[1].strip()


def test_a_wrong_test_is_told_which_piece_goes_against_it_and_what_that_piece_does():
    def by_bits(attend):
        q = torch.randn(1, 1, 6, 3, generator=torch.Generator().manual_seed(0))
        assert torch.equal(attend(q, q, q, 0.3), core_attend(q, q, q, 0.3))

    assert says(lambda attend: None) == "Your test lets the piece above through. It should fail for it."
    assert says(by_bits) == (
        "Your test refuses a sound piece that goes query by query and adds from the last key back. "
        "It should pass for it."
    )


def test_an_error_other_than_a_failed_assert_refuses_no_piece():
    def by_an_index(attend):
        try:
            ATTEND.core(attend)
        except AssertionError:
            raise IndexError("the sum is wrong") from None

    assert judge(ATTEND, lambda attend: 1 / 0, key=KEYS[ATTEND.name]).diagnoses == ()
    assert says(by_an_index) == (
        "For the piece above your test raises IndexError: the sum is wrong. "
        "Only an AssertionError, as `assert` raises it, refuses a piece."
    )


def test_a_test_that_says_now_this_and_now_that_is_told_so():
    def by_luck(attend):
        assert torch.rand(()) < 0.5

    assert "at one time and fails at another" in says(by_luck)


def test_a_test_without_end_is_ended_and_has_the_time_of_all_its_runs():
    def endless(attend):
        while True:
            pass

    result = judge(ATTEND, endless, 0.1, KEYS[ATTEND.name])
    assert "It did not come to an end within 0.3 s." in repr(result)


def test_what_a_test_prints_stands_there_once(capsys):
    judge(ATTEND, lambda attend: print("seen"), key=KEYS[ATTEND.name])
    assert capsys.readouterr().out == "seen\n"


@pytest.mark.parametrize("outcome", [bool, torch.tensor], ids=["bool", "tensor"])
def test_a_test_that_returns_false_is_told_to_assert(outcome: Callable):
    def by_a_return(attend):
        try:
            ATTEND.core(attend)
        except AssertionError:
            return outcome(False)
        return outcome(True)

    result = judge(ATTEND, by_a_return, key=KEYS[ATTEND.name])
    assert says(by_a_return).startswith("Your test returns False for a piece. A test fails by `assert`")
    assert result.diagnoses == ()


def test_a_test_that_asserts_may_return_something():
    def with_a_return(attend):
        ATTEND.core(attend)
        return True

    assert judge(ATTEND, with_a_return, key=KEYS[ATTEND.name]).status == "passed"


@pytest.mark.parametrize("read", [inspect.getsource, inspect.getsourcelines], ids=["text", "lines"])
def test_a_test_that_reads_the_source_is_told_that_there_is_none(read: Callable):
    found = inspect.findsource

    def by_the_source(attend):
        assert "softmax" in str(read(attend))

    assert "OSError: the source of a piece of code is not shown: look at what it does" in says(by_the_source)
    assert inspect.findsource is found and "def says" in inspect.getsource(says)


def test_a_stub_is_not_tried():
    def stub(attend):
        raise NotImplementedError

    assert judge(ATTEND, stub).status == "not tried"


def test_what_a_test_leaves_behind_does_not_reach_the_next_piece(capsys):
    def untidy(make_block):
        print("trying", make_block)
        try:
            BLOCK.core(make_block)
        finally:
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_num_threads(2)
            torch.manual_seed(len(repr(make_block)))
            random.seed(5)
            make_block.forward = None

    before = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), random.getstate()
    assert judge(BLOCK, untidy).status == "passed"
    assert before == (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        random.getstate(),
    )


def test_what_a_test_puts_in_the_place_of_a_function_does_not_reach_the_next_piece():
    before = ExpertBank.forward, torch.softmax, nanokimi.moe.dispatch

    def counting(dispatch):
        rows, forward = [], ExpertBank.forward
        assert forward is before[0]

        def counted(bank, x, counts):
            rows.append(len(x))
            return forward(bank, x, counts)

        ExpertBank.forward = counted
        dispatch(torch.ones(8, 2), (torch.arange(8) % 4)[:, None], torch.ones(8, 1), ExpertBank(4, 2, 3))
        torch.softmax = nanokimi.moe.dispatch = None
        assert sum(rows) == 8

    assert judge(find("test_sound_dispatch"), counting).status == "passed"
    assert before == (ExpertBank.forward, torch.softmax, nanokimi.moe.dispatch)


def running(attend):
    assert [attend(*[torch.zeros(1, 1, 2, 1)] * 3, 1.0)]


def test_two_mistakes_that_no_piece_tells_apart_are_both_named():
    one, other = (Mistake(lambda attend: None, f"It is {name}.", f"Look at {name}.") for name in "AB")
    exercise = replace(ATTEND, mistakes=(one, other))
    result = judge(exercise, running)
    assert result.diagnoses == (one, other) and result.diagnosis is one
    assert repr(result).splitlines()[2:] == [
        "  Diagnosis: Of the pieces by which it is judged, your test passes and refuses the same ones as each of these "
        "2 weak tests.",
        "  1. It is A. Look at this: Look at A.",
        "  2. It is B. Look at this: Look at B.",
        "  Whether yours is of this kind, its own lines tell: another test may behave alike.",
    ]


def test_what_a_known_weak_test_asks_is_told_of_that_one():
    """A test that asks for something else may behave alike."""
    known = Mistake(lambda attend: None, "It is A.", "Look at A.")
    text = repr(judge(replace(ATTEND, mistakes=(known,)), running))
    assert "the same ones as a known weak test, of which this is true: “It is A.”" in text


def catching(attend):
    q = torch.eye(2)
    try:
        assert attend(q, q, q, 1.0)[0, 1] == 0.0
    except AssertionError:
        print("wrong")


def printing(attend):
    if attend(torch.eye(2), torch.eye(2), torch.eye(2), 1.0)[0, 1] != 0.0:
        print("wrong")


def raising_again(attend):
    try:
        catching(attend)
        assert attend is not None
    except AssertionError:
        print("wrong")
        raise


@pytest.mark.parametrize(("test", "says_so"), [(catching, SWALLOWED), (printing, NO_ASSERT)])
def test_why_a_test_never_fails_is_read_off_its_lines(test, says_so):
    """No known weak test is named beside the cause: that one may be about numbers that are right here."""
    text = repr(judge(ATTEND, test))
    assert says_so in text and "Diagnosis" not in text


def test_an_error_that_is_raised_again_is_not_swallowed():
    assert SWALLOWED not in repr(judge(ATTEND, raising_again))


@pytest.mark.parametrize("exercise", [ATTEND, BLOCK], ids=lambda e: e.name)
def test_the_grader_judges_a_hunt_from_what_was_written_down(exercise: Exercise):
    def line_of(test):
        return {"attempt": pack_attempt(run_cases(exercise, exercise.cases(), test))}

    assert judge_line(exercise.name, line_of(lambda piece: exercise.core(piece)))["status"] == "passed"
    wrong = judge_line(exercise.name, line_of(lambda piece: None))
    assert (
        wrong["says"] == "Your test lets the piece above through. It should fail for it." and wrong["mistake"]
    )


def test_a_clause_that_ends_in_a_sentence_ends_in_a_comma():
    difference = Difference("a hidden piece, which calls softmax", "", TEST, "fails", "passes")
    text = panel_text(CheckResult(ATTEND, "failed", 3, difference))
    assert "lets a hidden piece, which calls softmax, through." in text
