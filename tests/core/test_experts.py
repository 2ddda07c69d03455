"""SwiGLU and the expert bank against scalar formulas, the every-expert loop and counted operations."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from nanokimi.experts import ExpertBank, SwiGLU, swiglu
from tests import tiny
from tests.tiny import harsh_

normal = partial(tiny.normal, dtype=torch.float64)

repeatable = settings(max_examples=40, deadline=None, derandomize=True)


def swiglu_by_hand(x: list[float], gate: list, up: list, down: list) -> list[float]:
    """down·(silu(gate·x) * (up·x)) for one token, number by number."""
    dot = lambda row: math.fsum(a * b for a, b in zip(row, x, strict=True))
    hidden = [dot(g) / (1 + math.exp(-dot(g))) * dot(u) for g, u in zip(gate, up, strict=True)]
    return [math.fsum(a * b for a, b in zip(row, hidden, strict=True)) for row in down]


def bank_of(n_experts: int, d_model: int, width: int, seed: int = 0) -> ExpertBank:
    return harsh_(ExpertBank(n_experts, d_model, width).double(), seed, std=1.0)


def test_mistake_23_gate_rows_come_first_and_silu_is_on_the_gate():
    """gate 2, up 3, down 5 at x = 0.5: 5 · silu(1) · 1.5. The other way round it is 5 · silu(1.5) · 1."""
    y = swiglu(torch.tensor([[0.5]]), torch.tensor([[2.0], [3.0]]), torch.tensor([[5.0]]))
    assert y.item() == pytest.approx(5 * (1 / (1 + math.exp(-1))) * 1.5, rel=1e-6)


@repeatable
@given(d_model=st.integers(1, 5), width=st.integers(1, 4), tokens=st.integers(1, 4), seed=st.integers(0, 999))
def test_swiglu_is_the_loop(d_model, width, tokens, seed):
    x, gate_up, down = normal(tokens, d_model, seed=seed), normal(2 * width, d_model), normal(d_model, width)
    wanted = [
        swiglu_by_hand(t, gate_up[:width].tolist(), gate_up[width:].tolist(), down.tolist())
        for t in x.tolist()
    ]
    torch.testing.assert_close(
        swiglu(x, gate_up, down), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


def test_the_module_is_the_function_with_its_weights():
    module = harsh_(SwiGLU(3, 4).double(), std=1.0)
    gate_up, down = module.gate_up_proj.tolist(), module.down_proj.tolist()
    x = normal(2, 5, 3)
    wanted = [[swiglu_by_hand(t, gate_up[:4], gate_up[4:], down) for t in row] for row in x.tolist()]
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@repeatable
@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), seed=st.integers(0, 999))
def test_bank_sends_every_run_through_its_own_expert(counts, seed):
    """Values and gradients; experts without rows get gradients of exactly zero."""
    bank = bank_of(len(counts), 3, 2, seed)
    x = normal(sum(counts), 3, seed=seed + 1).requires_grad_()
    cotangent = normal(sum(counts), 3, seed=seed + 2)
    y = bank(x, counts)
    y.backward(cotangent)

    alone = x.detach().clone().requires_grad_()
    weights = [w.detach().clone().requires_grad_() for w in (bank.gate_up_proj, bank.down_proj)]
    expert_of = [e for e, n in enumerate(counts) for _ in range(n)]
    total = torch.zeros((), dtype=torch.float64)
    for i, e in enumerate(expert_of):
        gate, up = weights[0][e, :2] @ alone[i], weights[0][e, 2:] @ alone[i]
        row = weights[1][e] @ (gate * torch.sigmoid(gate) * up)
        torch.testing.assert_close(y[i], row, rtol=1e-12, atol=1e-12)
        total = total + row @ cotangent[i]
    total.backward()
    for ours, loop in zip((x, bank.gate_up_proj, bank.down_proj), (alone, *weights), strict=True):
        torch.testing.assert_close(ours.grad, loop.grad, rtol=1e-10, atol=1e-12)
    for e, n in enumerate(counts):
        if n == 0:
            assert bank.gate_up_proj.grad[e].count_nonzero() == bank.down_proj.grad[e].count_nonzero() == 0


def test_every_row_needs_an_expert():
    with pytest.raises(ValueError, match="counts that add up to"):
        bank_of(3, 2, 2)(normal(5, 2), [1, 2, 1])


@pytest.mark.parametrize("counts", [[6, 0, 0, 0], [2, 1, 3, 0], [0, 0, 0, 6]])
def test_bank_costs_its_rows_however_many_experts_there_are(counts):
    """Three products of d_model · width a row, a multiply-add as two operations."""
    with FlopCounterMode(display=False) as counter:
        bank_of(4, 5, 7)(normal(6, 5), counts)
    assert counter.get_total_flops() == 6 * 3 * 2 * 5 * 7


def test_bank_does_not_even_start_an_expert_without_rows(monkeypatch):
    """Decoding gives K of E experts a row; each of the others would cost two products on nothing."""
    ran, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda run, *more, **out: ran.append(len(run)) or mm(run, *more, **out))
    bank_of(4, 5, 7)(normal(3, 5), [0, 2, 0, 1])
    assert ran == [2, 1, 2, 1]


def test_bank_without_rows_gives_none():
    rows = normal(0, 5)
    assert bank_of(4, 5, 7)(rows, [0, 0, 0, 0]).shape == rows.shape
