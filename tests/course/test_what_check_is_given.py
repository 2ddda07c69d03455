"""What `check` is given, and what it notes: a name alone, no answer at all, the lab's own function, an interrupt."""

import functools
import os
import signal
import threading
import time

import pytest
import torch

from lab_utils.course.chapters import find
from lab_utils.course.check import check
from lab_utils.course.logbook import Logbook


def causal(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)


def test_an_interrupt_ends_the_check_and_the_answer_and_nothing_is_noted(ctrl_c):
    threads = []

    def causal_mask(*_):
        threads.append(threading.current_thread())
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass

    result = check(causal_mask)
    assert repr(result).splitlines()[0] == "causal_mask: interrupted"
    assert "does not count" in repr(result) and "causal_mask" in result._repr_html_()
    assert not threads[0].is_alive()
    assert "causal_mask" not in Logbook.open().checks


@pytest.mark.parametrize(
    "answer",
    [lambda: 1, functools.partial(print), 3, "x\x1b[2J" * 99],
    ids=["lambda", "partial", "number", "text"],
)
def test_what_has_no_name_of_an_exercise_is_told_in_one_short_line(answer):
    with pytest.raises(ValueError, match=r"name that `def` or `class` gives|no name of its own") as refused:
        find(answer)
    assert len(str(refused.value)) < 300 and str(refused.value).isprintable()


def test_the_labs_own_function_solves_nothing():
    result = check(find("causal_mask").core)
    assert result.status == "handed over"
    assert "Run your own cell" in repr(result) and "Run your own cell" in result._repr_html_()
    assert not Logbook.open().checks


def test_check_notes_the_outcome_and_find_knows_the_nearest_name():
    def causal_mask(n_queries, n_keys, device):
        return ~causal(n_queries, n_keys, device)

    assert check(causal_mask).status == "failed"
    assert Logbook.open().checks["causal_mask"] == {"solved": False, "attempts": 1}

    def causal_mask(n_queries, n_keys, device):
        return causal(n_queries, n_keys, device)

    assert check(causal_mask).status == "passed"
    assert Logbook.open().checks["causal_mask"] == {"solved": True, "attempts": 2}
    with pytest.raises(ValueError, match=r"no exercise called 'casual_mask'; did you mean causal_mask\?"):
        find("casual_mask")


def test_a_name_alone_is_what_the_caller_calls_so():
    with pytest.raises(
        ValueError, match="nothing is called causal_mask here: run the cell that defines it first"
    ):
        check("causal_mask")

    def causal_mask(n_queries, n_keys, device):
        return causal(n_queries, n_keys, device)

    assert check("causal_mask").status == "passed"
    with pytest.raises(ValueError, match="did you mean causal_mask"):
        check("casual_mask")


CELLS = """
def causal_mask(n_queries, n_keys, device):
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)

def attend(q, k, v, scale, visible=None):
    if visible is None:
        visible = causal_mask(q.shape[-2], k.shape[-2], q.device)
    return (scale * q @ k.mT).masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v
"""


def test_a_part_of_the_learners_own_that_has_not_passed_may_hold_the_fault():
    notebook = {"torch": torch}
    exec(CELLS, notebook)
    said = "It uses your own causal_mask, which has not passed its check"
    assert said in repr(check(notebook["attend"]))
    Logbook.open().note_check("causal_mask", "passed")
    assert check(notebook["attend"]).status == "failed" and said not in repr(check(notebook["attend"]))
    Logbook.open().reset()
    notebook["causal_mask"] = find("causal_mask").core
    assert check(notebook["attend"]).status == "passed"


class WithoutName:
    @property
    def __name__(self):
        raise RuntimeError

    def __call__(self):
        return 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ((), r"check what\? Name your function, as in check\(attend\)"),
        (
            (torch.ones(2),),
            r"this is a Tensor, .* name the function, and do not call it, as in check\(attend\)",
        ),
        ((None,), "this is None, which has no name of its own"),
        ((WithoutName(),), "this is a WithoutName, which has no name of its own"),
        ((find("RMSNorm").core(2, 0.1),), "this is a RMSNorm that was made already: name the class, RMSNorm"),
        ((lambda: 1,), "there is no exercise called '<lambda>'"),
    ],
    ids=["nothing", "a result", "None", "a name that raises", "a module", "a lambda"],
)
def test_what_can_be_no_answer_is_told_in_a_sentence(asked, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        check(*asked)
    assert not Logbook.open().checks
