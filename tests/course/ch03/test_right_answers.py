"""Notebook 03: right answers, written in other ways than the core, pass its checks; what only looks right does not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nanokimi.experts import ExpertBank, swiglu
from tests.course.keys import judge_answer


def swiglu_by_einsum(x, gate_up, down):
    width = down.shape[1]
    gate = torch.einsum("...d,id->...i", x, gate_up[:width])
    up = torch.einsum("...d,id->...i", x, gate_up[width:])
    return torch.einsum("...i,di->...d", gate * gate.sigmoid() * up, down)


def swiglu_channel_by_channel(x, gate_up, down):
    gate, up = gate_up.view(2, -1, gate_up.shape[1])
    y = torch.zeros(*x.shape[:-1], down.shape[0], dtype=x.dtype)
    for i in range(down.shape[1]):
        g, u = ((x * rows[i]).sum(-1, keepdim=True) for rows in (gate, up))
        y = y + g * torch.sigmoid(g) * u * down[:, i]
    return y


def swiglu_by_glu(x, gate_up, down):
    gate, up = gate_up.split(down.shape[1])
    return F.linear(F.glu(torch.cat([x @ up.T, x @ gate.T], dim=-1), dim=-1) * (x @ gate.T), down)


class BankBySlices(ExpertBank):
    def forward(self, rows, counts):
        y, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            if n:
                y[start : start + n] = swiglu(
                    rows[start : start + n], self.gate_up_proj[e], self.down_proj[e]
                )
            start += n
        return y


class BankByGathering(ExpertBank):
    def forward(self, rows, counts):
        e = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        gate, up = torch.einsum("nid,nd->ni", self.gate_up_proj[e], rows).chunk(2, dim=-1)
        return torch.einsum("ndi,ni->nd", self.down_proj[e], F.silu(gate) * up)


class BankRowByRow(ExpertBank):
    def forward(self, rows, counts):
        experts_of_rows = [e for e, n in enumerate(counts) for _ in range(n)]
        out = [rows[:0]]
        for row, e in zip(rows, experts_of_rows, strict=True):
            gate, up = (self.gate_up_proj[e] @ row).tensor_split(2)
            out.append((self.down_proj[e] @ (F.silu(gate) * up))[None])
        return torch.cat(out)


def by_a_closed_gate(swiglu):
    out = swiglu(torch.ones(1, 1), torch.tensor([[-50.0], [1.0]]), torch.ones(1, 1))
    assert abs(out.item()) < 1e-3


def by_the_formula(swiglu):
    x, gate, up, down = (torch.randn(shape) for shape in ((5, 4), (3, 4), (3, 4), (4, 3)))
    expected = (F.silu(x @ gate.T) * (x @ up.T)) @ down.T
    torch.testing.assert_close(swiglu(x, torch.cat([gate, up]), down), expected)


def a_layer():
    bank = ExpertBank(4, 8, 6)
    for p in bank.parameters():
        nn.init.normal_(p)
    idx = torch.tensor([[0, 1], [1, 2], [2, 0], [1, 0], [0, 2]])
    return torch.randn(5, 8), idx, torch.ones(5, 2), bank


def by_a_hook(dispatch):
    layer, seen = a_layer(), []
    layer[3].register_forward_pre_hook(lambda bank, args: seen.append(len(args[0])))
    dispatch(*layer)
    assert sum(seen) == 5 * 2


def by_a_bank_that_counts(dispatch):
    class Counting(ExpertBank):
        n = 0

        def forward(self, rows, counts):
            self.n += len(rows)
            return super().forward(rows, counts)

    x, idx, weights, plain = a_layer()
    bank = Counting(4, 8, 6)
    bank.load_state_dict(plain.state_dict())
    dispatch(x, idx, weights, bank)
    assert bank.n == 10


def by_the_counts(dispatch):
    layer, seen = a_layer(), []
    layer[3].register_forward_pre_hook(lambda bank, args: seen.append(torch.tensor(args[1])))
    dispatch(*layer)
    assert torch.equal(sum(seen), torch.bincount(layer[1].flatten(), minlength=4))


def by_an_idle_expert_of_nan(dispatch):
    layer = a_layer()
    with torch.no_grad():
        layer[3].down_proj[3] = torch.nan
    assert dispatch(*layer).isfinite().all()


def by_operations(dispatch):
    with FlopCounterMode(display=False) as counter:
        dispatch(*a_layer())
    assert counter.get_total_flops() <= 10 * 2 * 3 * 8 * 6


RIGHT = [
    ("swiglu", swiglu_by_einsum),
    ("swiglu", swiglu_channel_by_channel),
    ("swiglu", swiglu_by_glu),
    ("ExpertBank", BankBySlices),
    ("ExpertBank", BankByGathering),
    ("ExpertBank", BankRowByRow),
    ("test_sound_swiglu", by_a_closed_gate),
    ("test_sound_swiglu", by_the_formula),
    ("test_sound_dispatch", by_a_hook),
    ("test_sound_dispatch", by_a_bank_that_counts),
    ("test_sound_dispatch", by_the_counts),
    ("test_sound_dispatch", by_an_idle_expert_of_nan),
    ("test_sound_dispatch", by_operations),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what only looks right


def swiglu_of_bent_ups(x, gate_up, down):
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up.clamp(min=-20), down)


def of_one_call(dispatch):
    layer, calls = a_layer(), []
    layer[3].register_forward_pre_hook(lambda bank, args: calls.append(1))
    dispatch(*layer)
    assert len(calls) == 1


def of_finite_numbers(swiglu):
    assert swiglu(torch.randn(3, 4), torch.randn(10, 4), torch.randn(4, 5)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("swiglu", swiglu_of_bent_ups),
        ("test_sound_dispatch", of_one_call),
        ("test_sound_swiglu", of_finite_numbers),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_answer_fails(name, answer):
    assert judge_answer(name, answer).status == "failed"


class BankThatDropsEmptyRuns(ExpertBank):
    """The run after an idle expert meets that one's matrices; without any row it gives none, as it should."""

    def forward(self, rows, counts):
        runs = [run for run in rows.split(counts) if len(run)] or [rows]
        return torch.cat([swiglu(*each) for each in zip(runs, self.gate_up_proj, self.down_proj)])


class BankThatStartsAfterOneCount(ExpertBank):
    def forward(self, rows, counts):
        out = torch.zeros_like(rows)
        for e, n in enumerate(counts):
            start = counts[e - 1] if e else 0
            out[start : start + n] = swiglu(rows[start : start + n], self.gate_up_proj[e], self.down_proj[e])
        return out


def few_calls_of_the_bank(dispatch):
    calls, bank = [], ExpertBank(4, 6, 5)
    bank.register_forward_hook(lambda *args: calls.append(1))
    choices = torch.tensor([[0, 2], [2, 3], [0, 3], [3, 2], [0, 2]])
    dispatch(torch.randn(5, 6), choices, torch.rand(5, 2), bank)
    assert 1 <= len(calls) <= 4


@pytest.mark.parametrize(
    ("name", "answer", "mistake", "case"),
    [
        ("ExpertBank", BankThatDropsEmptyRuns, "BankThatSkipsTheIdle", "the first expert has no rows"),
        (
            "ExpertBank",
            BankThatStartsAfterOneCount,
            "BankThatWritesAfterOneCount",
            "an expert without rows between two others",
        ),
        ("test_sound_dispatch", few_calls_of_the_bank, "chosen_test_of_some_calls", "the piece above"),
    ],
)
def test_a_wrong_answer_is_named(name, answer, mistake, case):
    result = judge_answer(name, answer)
    assert result.diagnosis is not None and result.diagnosis.name == mistake
    assert result.difference.case == case
