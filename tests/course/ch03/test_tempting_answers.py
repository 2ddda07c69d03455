"""Notebook 03: wrong answers that tempt, told as what they are."""

import pytest
import torch
import torch.nn.functional as F

from nanokimi.experts import ExpertBank, swiglu
from tests.course.keys import judge_answer

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


def bank_that_picks(gate_of, down_of) -> type:
    """A bank that takes each matrix from the expert that a function of the expert's number names."""

    class Bank(ExpertBank):
        def forward(self, rows, counts):
            out, start = torch.zeros_like(rows), 0
            for e, n in enumerate(counts):
                part = rows[start : start + n]
                out[start : start + n] = swiglu(
                    part, self.gate_up_proj[gate_of(e)], self.down_proj[down_of(e)]
                )
                start += n
            return out

    return Bank


def own(e):
    return e


def gate_with_more_up(x, gate_up, down):
    gate, up = (x @ gate_up.mT).tensor_split(2, dim=-1)
    return (up + 1) * F.silu(gate) @ down.mT


def rows_counted(is_right):
    """A test that counts the rows of all calls, with two choices for each token."""

    def test(dispatch):
        bank, rows = ExpertBank(5, 2, 3), []
        bank.register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[0]))
        idx = torch.tensor([[0, 2], [2, 1], [1, 0], [0, 1]])
        dispatch(torch.ones(4, 2), idx, torch.ones(4, 2), bank)
        assert is_right(sum(rows))

    return test


def strictly(swiglu):
    out = swiglu(torch.ones(1, 1), torch.tensor([[1.0], [3.0]]), torch.ones(1, 1))
    assert out.item() == 2.1932


def finely(swiglu):
    out = swiglu(torch.ones(1, 1), torch.tensor([[1.0], [3.0]]), torch.ones(1, 1))
    assert abs(out.item() - 2.193175735955) < 1e-12


def poisons_an_expert_of_weight_zero(dispatch):
    bank, generator = ExpertBank(4, 8, 6), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in bank.parameters():
            p.normal_(0, 0.3, generator=generator)
        bank.gate_up_proj[3] = float("nan")
    idx = torch.tensor([[0, 3], [1, 3], [2, 3], [0, 3], [1, 3], [2, 3]])
    y = dispatch(torch.randn(6, 8, generator=generator), idx, torch.tensor([[1.0, 0.0]]).repeat(6, 1), bank)
    assert y.isfinite().all()


def by_columns(x, gate_up, down):
    width = gate_up.shape[0] // 2
    return down @ (F.silu(gate_up[:width] @ x.T) * (gate_up[width:] @ x.T))


NAMED = [
    ("test_sound_dispatch", poisons_an_expert_of_weight_zero, "chosen_test_of_a_weight_of_zero"),
    ("swiglu", by_columns, "swiglu_of_columns"),
    ("ExpertBank", bank_that_picks(own, lambda e: e - 1), "BankWithTheDownBefore"),
    ("ExpertBank", bank_that_picks(own, lambda e: 0), "BankWithTheFirstDown"),
    ("ExpertBank", bank_that_picks(lambda e: 0, own), "BankWithTheFirstGate"),
    ("ExpertBank", bank_that_picks(lambda e: e - 1, own), "BankWithTheGateBefore"),
    ("swiglu", gate_with_more_up, "swiglu_with_one_more_up"),
    ("test_sound_dispatch", rows_counted(lambda n: n == 4), "chosen_test_of_one_row_per_token"),
    ("test_sound_dispatch", rows_counted(lambda n: n <= 4), "chosen_test_of_too_few_rows"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[each[2] for each in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


@pytest.mark.parametrize("test", [strictly, finely])
def test_a_test_without_room_for_rounding_is_not_told_that_its_number_is_wrong(test):
    (known,) = judge_answer("test_sound_swiglu", test).diagnoses
    assert "or it leaves no room for float32 rounding" in known.says


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("ExpertBank", bank_that_picks(own, own)),
        ("test_sound_dispatch", rows_counted(lambda n: n == 8)),
        ("test_sound_dispatch", rows_counted(lambda n: n <= 8)),
    ],
)
def test_a_right_answer_passes(name, answer):
    assert judge_answer(name, answer).status == "passed"
