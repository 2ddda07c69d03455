"""Whatever odd value an answer returns, to whatever exercise: one plain sentence about it, and none of our code."""

import numpy as np
import pytest
import torch
from torch import nn

from lab_utils.course.chapters import all_exercises
from lab_utils.course.judge import judge
from lab_utils.course.judgement import panel_text
from tests.course.keys import judge_answer, key_of
from tests.sample import sample

EXERCISES = {e.name: e for e in all_exercises().values() if not e.is_hunt}
SLOW = {"generate", "Kimi", "KimiBlock", "MultiHeadLatentAttention", "derived_scaling_factor", "Muon"}
# What each class of the course does; the result of an optimizer's step is not looked at.
MAIN = {"SequenceCache": "append", "Muon": None}
NO_RESULT = {
    "update_expert_bias_",
    "clip_qk_",
}  # they change their arguments: what they return is not looked at


class Lying:
    """Says that it is everything, and raises an error when it is asked for more."""

    def __getattr__(self, name):
        raise RuntimeError("our own " + name)

    def __len__(self):
        raise RuntimeError("our own length")

    def __eq__(self, other):
        raise RuntimeError("our own equality")

    def __iter__(self):
        raise RuntimeError("our own iteration")

    def __repr__(self):
        raise RuntimeError("our own text")

    def __bool__(self):
        raise RuntimeError("our own truth")

    __hash__ = None

    @classmethod
    def __torch_function__(cls, *args, **kwargs):
        raise RuntimeError("our own function of torch")


class LyingTensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *args, **kwargs):
        raise RuntimeError("our own function of torch")


class LyingList(list):
    def __len__(self):
        raise RuntimeError("our own length")

    def __iter__(self):
        raise RuntimeError("our own iteration")


class LyingNumber(float):
    def __eq__(self, other):
        raise RuntimeError("our own equality")

    def __sub__(self, other):
        raise RuntimeError("our own difference")

    __hash__ = float.__hash__


def holds_itself():
    made = []
    made.append(made)
    return made


def yields():
    yield torch.ones(2)
    yield Lying()


ODD = {
    "None": lambda: None,
    "NotImplemented": lambda: NotImplemented,
    "bool": lambda: True,
    "number": lambda: 0.123,
    "whole number": lambda: 12345,
    "text": lambda: "a text\x1b[2J",
    "dict": lambda: {"result": torch.ones(2), 3: 4},
    "list": lambda: [torch.ones(2), 3],
    "list in itself": holds_itself,
    "empty tuple": tuple,
    "tuple": lambda: (torch.ones(2), None, Lying(), 1),
    "tuple of one": lambda: (torch.ones(2),),
    "generator": yields,
    "set": lambda: {1, 2},
    "array": lambda: np.ones((3, 2)),
    "number of numpy": lambda: np.float64(0.123),
    "tensor on meta": lambda: torch.ones(2, 2, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "complex": lambda: torch.ones(2, dtype=torch.complex64),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "empty tensor": lambda: torch.ones(0),
    "parameter": lambda: nn.Parameter(torch.full((2, 3), 7.5)),
    "tensor of huge numbers": lambda: torch.full((1, 1), 1e38),
    "module": lambda: nn.Linear(2, 2),
    "class": lambda: Lying,
    "function": lambda: len,
    "lying": Lying,
    "lying tensor": lambda: torch.ones(2, 2).as_subclass(LyingTensor),
    "lying list": lambda: LyingList([1.0, 2.0]),
    "lying number": lambda: LyingNumber(0.123),
}


def returns(exercise, make):
    """An answer that returns what `make` makes, or a class whose main method does."""
    if not isinstance(exercise.core, type):
        return lambda *args, **kwargs: make()
    method = MAIN.get(exercise.name, "forward")
    return type(exercise.name, (exercise.core,), {method: lambda self, *args, **kwargs: make()})


def check_one(name, make):
    exercise = EXERCISES[name]
    result = judge(exercise, returns(exercise, make), key=key_of(name))
    assert result.status == "failed", name
    says = result.difference.says
    assert says and says.isprintable() and "Traceback" not in says, (name, says)
    # Nothing in these answers raises an error, so none is theirs.
    assert not says.startswith("It raises") and not result.difference.place, (name, says)
    assert "our own" not in says and "lab_utils" not in says, (name, says)
    first = says.splitlines()[0]
    assert first[1:] in panel_text(result), name  # behind a colon it begins with a small letter


def names(slow):
    chosen = [n for n in EXERCISES if (n in SLOW) == slow and MAIN.get(n, "forward") is not None]
    return [n for n in chosen if n not in NO_RESULT]


@pytest.mark.parametrize("what", ODD)
def test_every_odd_result_of_every_exercise_is_told_in_one_sentence(what):
    for name in sample(names(slow=False) + names(slow=True), 24, begin=list(ODD).index(what)):
        check_one(name, ODD[what])


@pytest.mark.parametrize("what", ["sparse", "lying", "tuple"])
def test_odd_results_are_told_in_one_sentence(what):
    for name in ("attend", "expert_load", "windows"):
        check_one(name, ODD[what])


@pytest.mark.parametrize("result", ["x", [1, 2], {"a": 1}, 3, (1.0,)], ids=repr)
@pytest.mark.parametrize("name", ["attend", "swiglu", "next_token_probs", "rope_frequencies"])
def test_of_a_result_of_another_kind_nothing_else_is_said(name, result):
    found = judge_answer(name, lambda *args, **kwargs: result)
    assert found.status == "failed" and found.relations == ()


def test_of_a_tensor_it_is_still_said_what_it_ignores():
    found = judge_answer("attend", lambda q, k, v, *rest, **more: q * 0)
    assert found.relations
