"""A test that goes by a name, by the number of calls or by nothing that its piece does is told so."""

import inspect
from collections.abc import Callable

import pytest
import torch

from lab_utils.course.doubles import COUNTS_CALLS
from lab_utils.course.lines_of_a_test import NEVER_RUNS
from nanokimi.attention import attend as core_attend
from nanokimi.config import RopeConfig
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch as core_dispatch
from nanokimi.rope import apply_rope, rotations
from tests.course.keys import judge_answer


def of_the_function_in_the_notebook(attend):
    q = torch.zeros(1, 1, 2, 1)
    assert core_attend(q, q, q, 1.0).sum() == 0


def that_knows_already(attend):
    raise AssertionError


def of_the_name(attend):
    assert attend.__name__ != "attend_by_columns"


def of_a_name_that_may_be_missing(attend):
    assert getattr(attend, "__module__", "") != "bugs"


def of_its_text(attend):
    assert "columns" not in repr(attend)


def of_its_signature(attend):
    assert len(inspect.signature(attend).parameters) == 4
    assert attend(*[torch.zeros(1, 1, 2, 1)] * 3, 1.0) is not None


@pytest.mark.parametrize("test", [of_the_function_in_the_notebook, that_knows_already])
def test_a_test_that_never_runs_its_piece_hears_that_and_no_guess(test: Callable):
    panel = repr(judge_answer("test_sound_attend", test))
    assert NEVER_RUNS in panel and "Diagnosis" not in panel


@pytest.mark.parametrize(
    ("test", "line"),
    [
        (of_the_name, "attend.__name__"),
        (of_a_name_that_may_be_missing, "getattr(attend, '__module__', '')"),
        (of_its_text, "repr(attend)"),
        (of_its_signature, "inspect.signature(attend)"),
    ],
)
def test_a_test_that_asks_what_its_piece_is_called_is_shown_the_line(test: Callable, line: str):
    assert f"`{line}` is the same for every piece, or says nothing of it." in repr(
        judge_answer("test_sound_attend", test)
    )


def test_a_class_and_a_module_are_run_where_their_object_is():
    def of_a_weight(moe_class):
        assert issubclass(moe_class, torch.nn.Module)

    def of_an_output(layer):
        assert layer(torch.ones(1, 2, 8)).isfinite().all()

    assert NEVER_RUNS in repr(judge_answer("test_sound_moe", of_a_weight))
    assert NEVER_RUNS not in repr(judge_answer("test_sound_summary", of_an_output))


def turn(positions):
    return rotations(positions, 4, RopeConfig(base=10.0))


def counting_turned_tensors(decode_step):
    q, k, v = (torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    cache, calls = [], []

    def counted(x, rotation):
        calls.append(x)
        return apply_rope(x, rotation)

    steps = [
        decode_step(*(x[..., t : t + 1, :] for x in (q, k, v)), cache, core_attend, counted, turn)
        for t in range(3)
    ]
    where = turn(torch.arange(3))
    whole = core_attend(apply_rope(q, where), apply_rope(k, where), v, 0.5)
    assert torch.allclose(torch.cat(steps, dim=-2), whole, atol=1e-5) and len(calls) == 6


class CountedBank(ExpertBank):
    n_calls = 0

    def forward(self, x, counts):
        self.n_calls += 1
        return super().forward(x, counts)


def counting_calls_of_the_bank(dispatch):
    torch.manual_seed(0)
    bank, x = CountedBank(2, 4, 3), torch.randn(16, 4)
    idx, weights = torch.zeros(16, 1, dtype=torch.long), torch.ones(16, 1)
    y, n = dispatch(x, idx, weights, bank), bank.n_calls
    assert torch.allclose(y, core_dispatch(x, idx, weights, bank), atol=1e-5) and n <= 1


@pytest.mark.parametrize(
    ("name", "test"),
    [("test_sound_decoding", counting_turned_tensors), ("test_sound_capacity", counting_calls_of_the_bank)],
)
def test_a_test_that_counts_calls_refuses_a_sound_piece_and_hears_why(name: str, test: Callable):
    result = judge_answer(name, test)
    assert result.status == "failed"
    assert COUNTS_CALLS.partition("{piece}")[2] in repr(result), result
