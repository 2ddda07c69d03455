"""Notebook 03: wrong answers in words of their own are refused and named, and right ones that look odd pass."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nanokimi.experts import ExpertBank
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


class Bank(ExpertBank):
    def one(self, e, rows, act=F.silu):
        gate, up = (rows @ self.gate_up_proj[e].T).chunk(2, -1)
        return (act(gate) * up) @ self.down_proj[e].T


class IntoPlainZeros(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros(len(rows), rows.shape[1]), 0
        for e, n in enumerate(counts):
            out[start : start + n] = self.one(e, rows[start : start + n]).float()
            start += n
        return out


class IntoEmptyFloats(Bank):
    def forward(self, rows, counts):
        parts = [self.one(e, run).to(torch.float32) for e, run in enumerate(rows.split(counts))]
        return torch.vstack(parts)


class WithoutSilu(Bank):
    def forward(self, rows, counts):
        return torch.cat([self.one(e, run, lambda z: z) for e, run in enumerate(rows.split(counts))])


class WithGelu(Bank):
    def forward(self, rows, counts):
        return torch.cat([self.one(e, run, F.gelu) for e, run in enumerate(rows.split(counts))])


class BetweenEnds(Bank):
    def forward(self, rows, counts):
        out = rows.new_zeros(rows.shape)
        for e, (start, end) in enumerate(zip([0, *counts[:-1]], counts)):
            if start < end:
                out[start:end] = self.one(e, rows[start:end])
        return out


class MovedFirst(Bank):
    def forward(self, rows, counts):
        start, out = 0, rows.new_zeros(len(rows), rows.shape[1])
        for e in range(len(counts)):
            start += counts[e]
            end = start + counts[e]
            out[start:end] = self.one(e, rows[start:end])
        return out


class DownOfTheNext(Bank):
    def forward(self, rows, counts):
        done = []
        for e, run in enumerate(rows.split(counts)):
            gate, up = (run @ self.gate_up_proj[e].T).chunk(2, -1)
            done.append((F.silu(gate) * up) @ self.down_proj[(e + 1) % len(self.down_proj)].T)
        return torch.cat(done)


class LargestFirst(Bank):
    def forward(self, rows, counts):
        out, start = torch.empty_like(rows), 0
        for e in torch.tensor(counts).argsort(descending=True, stable=True).tolist():
            stop = start + counts[e]
            out[start:stop] = self.one(e, rows[start:stop])
            start = stop
        return out


class Padded(Bank):
    def forward(self, rows, counts):
        runs = nn.utils.rnn.pad_sequence(list(rows.split(counts)), batch_first=True)
        gate, up = torch.einsum("end,eid->eni", runs, self.gate_up_proj).chunk(2, -1)
        done = torch.einsum("eni,edi->end", F.silu(gate) * up, self.down_proj)
        return torch.cat([done[e, :n] for e, n in enumerate(counts)])


class WithMatricesOfEachRow(Bank):
    """As many products as needed; what it takes is memory."""

    def forward(self, rows, counts):
        e = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        gate, up = (self.gate_up_proj[e] @ rows[:, :, None]).chunk(2, 1)
        return (self.down_proj[e] @ (F.silu(gate) * up))[:, :, 0]


def gate_of_width_d(x, gate_up, down):
    hidden = x @ gate_up.T
    gate, up = hidden[..., : x.shape[-1]], hidden[..., x.shape[-1] : 2 * x.shape[-1]]
    return (F.silu(gate) * up) @ down.T


def gate_over_one_plus_exp(x, gate_up, down):
    gate, up = (x @ gate_up.T).chunk(2, -1)
    return (up * (gate / (1 + torch.exp(gate)))) @ down.T


def gate_of_exp_over_one_plus_exp(x, gate_up, down):
    gate, up = (x @ gate_up.T).chunk(2, -1)
    return (up * gate * gate.exp() / (gate.exp() + 1)) @ down.T


class FromCountToCount(Bank):
    def forward(self, rows, counts):
        out, places = torch.zeros_like(rows), [*counts, len(rows)]
        for e in range(len(counts)):
            if places[e] < places[e + 1]:
                out[places[e] : places[e + 1]] = self.one(e, rows[places[e] : places[e + 1]])
        return out


class StartingBehindTheEnd(Bank):
    def forward(self, rows, counts):
        out, start = rows.new_zeros(rows.shape), 0
        for e, n in enumerate(counts):
            end = start + n
            out[start:end] = self.one(e, rows[start:end])
            start = end + 1
        return out


class StartingBehindTheEndInFloat32(StartingBehindTheEnd):
    def forward(self, rows, counts):
        return super().forward(rows, counts).to(torch.float32)


class JoinedBehindTheEnd(Bank):
    def forward(self, rows, counts):
        ends = torch.tensor(counts).cumsum(0).tolist()
        starts = [end - n + e for e, (end, n) in enumerate(zip(ends, counts))]
        return torch.cat([self.one(e, rows[s : s + n]) for e, (s, n) in enumerate(zip(starts, counts))])


class OneRowTooFew(Bank):
    def forward(self, rows, counts):
        out, start = torch.zeros_like(rows), 0
        for e, n in enumerate(counts):
            if n > 1:
                out[start : start + n - 1] = self.one(e, rows[start : start + n - 1])
            start += n
        return out


def gate_up_to_the_width_of_x(x, gate_up, down):
    d = x.shape[-1]
    gate, up = F.linear(x, gate_up[:d]), F.linear(x, gate_up[d:])
    return F.linear(F.silu(gate) * up, down)


def gate_in_a_safe_form(x, gate_up, down):
    gate, up = F.linear(x, gate_up).tensor_split(2, -1)
    e = (-gate.abs()).exp()
    return F.linear(gate * torch.where(gate < 0, e, 1.0) / (1 + e) * up, down)


# ---------------------------------------------------------------- tests


def run(dispatch, idx, n_experts=4):
    """The rows and the counts of every call of the bank."""
    torch.manual_seed(0)
    bank, seen = ExpertBank(n_experts, 5, 4), []
    bank.register_forward_pre_hook(lambda bank, args: seen.append((len(args[0]), list(args[1]))))
    out = dispatch(torch.randn(len(idx), 5), idx, torch.rand(idx.shape), bank)
    assert seen and out is not None
    return seen


CHOICES = torch.tensor([[0, 1], [1, 3], [3, 0], [0, 1], [1, 3], [3, 1]])


def rows_below_everything(dispatch):
    assert sum(n for n, _ in run(dispatch, CHOICES)) <= 6 * 4


def rows_with_all_chosen(dispatch):
    assert sum(n for n, _ in run(dispatch, torch.arange(3).expand(4, 3), n_experts=3)) == 12


def two_calls(dispatch):
    assert len(run(dispatch, CHOICES)) <= 2


def three_calls(dispatch):
    assert len(run(dispatch, CHOICES)) < 4


def no_call_in_vain(dispatch):
    for n, _ in run(dispatch, CHOICES):
        assert n >= 1


def nothing_for_minus_three(swiglu):
    out = swiglu(torch.tensor([[1.0]]), torch.tensor([[-3.0], [2.0]]), torch.tensor([[1.0]]))
    assert torch.equal(out, torch.zeros(1, 1))


def form_and_change(swiglu):
    torch.manual_seed(2)
    x, gate_up, down = torch.randn(3, 4), torch.randn(12, 4), torch.randn(4, 6)
    out = swiglu(x, gate_up, down)
    assert out.shape == x.shape and (out - swiglu(-3 * x, gate_up, down)).abs().max() > 1e-3


def twice_the_gate(swiglu):
    torch.manual_seed(1)
    x, gate, up, down = (torch.randn(s) for s in ((3, 4), (2, 4), (2, 4), (4, 2)))
    once, twice = swiglu(x, torch.cat([gate, up]), down), swiglu(x, torch.cat([2 * gate, up]), down)
    assert (twice - 2 * once).abs().max() < 1e-4


NAMED = [
    ("ExpertBank", IntoPlainZeros, "BankInFloat32"),
    ("ExpertBank", IntoEmptyFloats, "BankInFloat32"),
    ("ExpertBank", WithoutSilu, "BankWithoutSilu"),
    ("ExpertBank", WithGelu, "BankWithGelu"),
    ("ExpertBank", BetweenEnds, "BankThatWritesBetweenPlaces"),
    ("ExpertBank", MovedFirst, "BankThatStartsLate"),
    ("ExpertBank", DownOfTheNext, "BankWithTheNextDown"),
    ("ExpertBank", LargestFirst, "BankByLoad"),
    ("ExpertBank", Padded, "BankThatPads"),
    ("swiglu", gate_of_width_d, "swiglu_cut_at_d_model"),
    ("swiglu", gate_over_one_plus_exp, "swiglu_with_the_sign_of_the_exponent"),
    ("swiglu", gate_of_exp_over_one_plus_exp, "swiglu_that_overflows_upwards"),
    ("swiglu", gate_up_to_the_width_of_x, "swiglu_cut_once_at_d_model"),
    ("ExpertBank", FromCountToCount, "BankThatWritesToTheNextPlace"),
    ("ExpertBank", StartingBehindTheEnd, "BankThatLeavesARowOut"),
    ("ExpertBank", StartingBehindTheEndInFloat32, "BankThatLeavesARowOut"),
    ("ExpertBank", JoinedBehindTheEnd, "BankThatCutsARowOut"),
    ("ExpertBank", OneRowTooFew, "BankWithoutTheLastOfEachRun"),
    ("test_sound_swiglu", form_and_change, "gate_test_of_the_shape_and_a_difference"),
    ("test_sound_dispatch", rows_below_everything, "chosen_test_without_idle_experts"),
    ("test_sound_dispatch", rows_with_all_chosen, "chosen_test_without_idle_experts"),
    ("test_sound_dispatch", two_calls, "chosen_test_of_one_call"),
    ("test_sound_dispatch", three_calls, "chosen_test_of_one_call"),
    ("test_sound_dispatch", no_call_in_vain, "chosen_test_of_no_empty_call"),
    ("test_sound_swiglu", nothing_for_minus_three, "gate_test_of_a_relu"),
    ("test_sound_swiglu", twice_the_gate, "gate_test_of_a_doubled_gate"),
]


SOME = sample(NAMED, 3)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[each[1].__name__ for each in SOME])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert [each.name for each in result.diagnoses] == [mistake], result


def test_memory_is_not_counted():
    assert judge_answer("ExpertBank", WithMatricesOfEachRow).status == "passed"


def test_a_second_slip_in_float64_is_said_beside():
    result = judge_answer("ExpertBank", StartingBehindTheEndInFloat32)
    assert "(float64)" in result.beside and "float32" in result.beside
    assert judge_answer("ExpertBank", StartingBehindTheEnd).beside == ""


def test_a_safe_form_of_silu_passes():
    assert judge_answer("swiglu", gate_in_a_safe_form).status == "passed"
