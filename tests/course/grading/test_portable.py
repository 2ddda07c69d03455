"""What answers give crosses from one process to another unchanged, and hostile data gives no attempt."""

import json
import math

import pytest
import torch

from lab_utils.course.attempt import NOT_TRIED, Attempt, Outcome, run_cases
from lab_utils.course.chapters import all_exercises
from lab_utils.course.grading.portable import pack_attempt, unpack_attempt


def carry(attempt: Attempt) -> Attempt:
    return unpack_attempt(json.loads(json.dumps(pack_attempt(attempt))), len(attempt.outcomes))


def carry_value(value):
    return carry(Attempt((Outcome({"x": value}),))).outcomes[0].parts["x"]


@pytest.mark.parametrize(
    "name", ["causal_mask", "attend", "merge_most_frequent", "token_bytes", "test_sound_attend"]
)
def test_what_the_core_gives_arrives_bit_for_bit(name):
    exercise = all_exercises()[name]
    sent = run_cases(exercise, exercise.cases(), exercise.core)
    for before, after in zip(sent.outcomes, carry(sent).outcomes, strict=True):
        assert after.problem == before.problem
        assert (after.parts is None) == (before.parts is None)
        for part, value in (before.parts or {}).items():
            if isinstance(value, torch.Tensor):
                assert after.parts[part].dtype == value.dtype and after.parts[part].shape == value.shape
                assert torch.equal(torch.nan_to_num(after.parts[part]), torch.nan_to_num(value))
            else:
                assert after.parts[part] == value and type(after.parts[part]) is type(value)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor([1.0, math.nan, math.inf]),
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.tensor([1 + 2j]).conj(),
        torch.zeros(0, 3),
        torch.arange(6).view(2, 3).T,
        torch.tensor([True, False]),
        torch.nn.Parameter(torch.ones(2)),
    ],
)
def test_any_dense_tensor_arrives(tensor):
    arrived = carry_value(tensor)
    assert arrived.dtype == tensor.dtype and arrived.shape == tensor.shape and not arrived.requires_grad
    assert torch.equal(arrived.nan_to_num(), tensor.detach().resolve_conj().nan_to_num())


@pytest.mark.parametrize("value", [None, True, 3, -(10**40), 0.1, math.inf, "é\ud800", [], [1, [2.0, "x"]]])
def test_plain_values_arrive(value):
    assert carry_value(value) == value and type(carry_value(value)) is type(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ((1, 2), "tuple"),
        (10**5000, "int"),
        ("x" * 10**7, "str"),
        (torch.zeros(1).expand(10**12), "Tensor of 1,000,000,000,000 numbers"),
        (torch.eye(2).to_sparse(), "Tensor (float32, torch.sparse_coo, cpu)"),
        (torch.empty(3, device="meta"), "Tensor (float32, torch.strided, meta)"),
    ],
    ids=lambda x: str(type(x).__name__),
)
def test_of_anything_else_the_name_of_its_type_arrives(value, name):
    assert type(carry_value(value)).__name__ == name


def rows_within_rows(depth: int) -> list:
    return [] if depth == 0 else [rows_within_rows(depth - 1)]


def itself() -> list:
    rows = []
    rows.append(rows)
    return rows


def doubled() -> list:
    rows = []
    for _ in range(40):
        rows = [rows, rows]
    return rows


def deep() -> list:
    rows = []
    for _ in range(2000):
        rows = [rows]
    return rows


class Raises(list):
    def __iter__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (itself(), "list, nested too deeply"),
        (deep(), "list, nested too deeply"),
        (doubled(), "list, nested too deeply"),
        ([[1] * 1000] * 1000, "list, too large"),
        ([torch.zeros(1000)] * 1000, "list, too large"),
        (Raises(), "Raises"),
    ],
    ids=["itself", "deep", "doubled", "numbers", "tensors", "raises"],
)
def test_of_a_list_without_bounds_the_name_arrives(value, name):
    assert type(carry_value(value)).__name__ == name


def test_a_list_as_deep_as_it_may_be_arrives():
    assert carry_value(rows_within_rows(19)) == rows_within_rows(19)


def test_an_attempt_without_outcomes_arrives():
    assert unpack_attempt(pack_attempt(Attempt((), NOT_TRIED)), 5) == Attempt((), NOT_TRIED)


def outcome(part) -> dict:
    return {"why": "", "outcomes": [{"problem": "", "parts": [["x", part]]}]}


@pytest.mark.parametrize(
    "data",
    [
        None,
        5,
        {},
        {"why": "passed", "outcomes": []},
        {"why": "", "outcomes": []},
        {"why": "not tried", "outcomes": [{"problem": "", "parts": None}]},
        {"why": "", "outcomes": [{"problem": "", "parts": [5]}]},
        outcome({"plain": {}}),
        outcome({}),
        outcome(5),
        outcome({"tensor": "float32", "shape": [10**12], "bytes": "AAAA"}),
        outcome({"tensor": "float32", "shape": [-1, 0], "bytes": ""}),
        outcome({"tensor": "float32", "shape": "x", "bytes": "AAAAAA=="}),
        outcome({"tensor": "object", "shape": [1], "bytes": "AAAAAA=="}),
        outcome({"tensor": "float32", "shape": [1], "bytes": "!"}),
    ],
    ids=str,
)
def test_hostile_data_is_no_attempt(data):
    with pytest.raises(ValueError):
        unpack_attempt(data, 1)
