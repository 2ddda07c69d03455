"""Dispatch against the loop that runs every expert on every token: values, gradients, costs, no token dropped."""

from functools import partial

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nanokimi.device import autocast
from nanokimi.experts import ExpertBank
from nanokimi.moe import dispatch
from tests import tiny
from tests.core.experts_by_hand import every_expert_loop, expert
from tests.tiny import harsh_

normal = partial(tiny.normal, dtype=torch.float64)

repeatable = settings(max_examples=40, deadline=None, derandomize=True)
D, WIDTH = 6, 5


def bank_of(n_experts: int, seed: int = 0) -> ExpertBank:
    return harsh_(ExpertBank(n_experts, D, WIDTH).double(), seed, std=0.7)


def distinct_choices(tokens: int, n_experts: int, top_k: int, seed: int) -> Tensor:
    return normal(tokens, n_experts, seed=seed).topk(top_k).indices


@repeatable
@given(
    tokens=st.integers(1, 9),
    n_experts=st.integers(1, 7),
    top_k=st.integers(1, 7),
    used=st.integers(1, 7),
    seed=st.integers(0, 999),
)
@example(tokens=1, n_experts=7, top_k=1, used=7, seed=0)  # one token, six idle experts
@example(tokens=9, n_experts=7, top_k=1, used=1, seed=0)  # all tokens on one expert
@example(tokens=9, n_experts=4, top_k=4, used=4, seed=0)  # every expert for every token
def test_dispatch_is_the_every_expert_loop(tokens, n_experts, top_k, used, seed):
    """Values, and gradients of input, weights and bank; those of idle experts are exactly zero.

    See docs/mistakes.md, numbers 1, 3 and 15.
    """
    used = min(used, n_experts)
    expert_idx = distinct_choices(tokens, used, min(top_k, used), seed)
    bank = bank_of(n_experts, seed)
    x = normal(tokens, D, seed=seed + 1).requires_grad_()
    weights = normal(*expert_idx.shape, seed=seed + 2).requires_grad_()
    cotangent = normal(tokens, D, seed=seed + 3)

    inputs = (x, weights, bank.gate_up_proj, bank.down_proj)
    y = dispatch(x, expert_idx, weights, bank)
    found = torch.autograd.grad(y, inputs, cotangent)
    loop = every_expert_loop(x, expert_idx, weights, bank.gate_up_proj, bank.down_proj)
    wanted = torch.autograd.grad(loop, inputs, cotangent)
    torch.testing.assert_close(y, loop, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)
    for e in set(range(n_experts)) - set(expert_idx.flatten().tolist()):
        assert found[2][e].count_nonzero() == found[3][e].count_nonzero() == 0


@repeatable
@given(order=st.permutations(range(8)), seed=st.integers(0, 999))
def test_dispatch_does_not_care_about_the_order_of_tokens(order, seed):
    x, expert_idx, bank = normal(8, D, seed=seed), distinct_choices(8, 5, 2, seed), bank_of(5, seed)
    weights, order = normal(8, 2, seed=seed + 1), torch.tensor(order)
    mixed = dispatch(x[order], expert_idx[order], weights[order], bank)
    torch.testing.assert_close(mixed, dispatch(x, expert_idx, weights, bank)[order], rtol=1e-12, atol=1e-12)


def test_dispatch_does_not_care_about_the_order_of_choices():
    x, expert_idx, bank, weights = (
        normal(8, D),
        distinct_choices(8, 5, 3, 0),
        bank_of(5),
        normal(8, 3, seed=1),
    )
    swapped = dispatch(x, expert_idx.flip(1), weights.flip(1), bank)
    torch.testing.assert_close(swapped, dispatch(x, expert_idx, weights, bank), rtol=1e-12, atol=1e-12)


def test_mistake_3_no_token_is_dropped_however_full_an_expert():
    x = normal(4096, D)
    expert_idx, weights = torch.full((4096, 1), 3), torch.ones(4096, 1, dtype=torch.float64)
    bank = bank_of(16)
    y = dispatch(x, expert_idx, weights, bank)
    torch.testing.assert_close(y, expert(x, bank.gate_up_proj[3], bank.down_proj[3]), rtol=1e-12, atol=1e-12)
    assert y.abs().sum(-1).min() > 0


def test_mistake_15_the_weight_comes_after_the_nonlinearity():
    """Then the output is linear in it; before SiLU, doubling a weight would more than double the output."""
    x, expert_idx, bank, weights = (
        normal(8, D),
        distinct_choices(8, 5, 2, 0),
        bank_of(5),
        normal(8, 2, seed=1),
    )
    torch.testing.assert_close(
        dispatch(x, expert_idx, 2 * weights, bank),
        2 * dispatch(x, expert_idx, weights, bank),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("n_experts", [4, 16])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_mistake_14_only_the_chosen_experts_run(top_k, n_experts):
    """Operations are K · tokens · three products of d_model · width, whatever E is, and twice that backward."""
    tokens = 32
    x, bank = normal(tokens, D).requires_grad_(), bank_of(n_experts)
    weights = torch.ones(tokens, top_k, dtype=torch.float64)
    forward = tokens * top_k * 3 * 2 * D * WIDTH
    with FlopCounterMode(display=False) as counter:
        y = dispatch(x, distinct_choices(tokens, n_experts, top_k, 0), weights, bank)
        assert counter.get_total_flops() == forward
        y.square().sum().backward()
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouped_products_are_the_loop(monkeypatch, dtype):
    """One product for all experts, one of which has no row; values and gradients."""
    bank = harsh_(ExpertBank(5, 16, 8), 0, std=0.7)
    expert_idx = distinct_choices(30, 4, 2, seed=1)  # the last expert is idle
    x, weights = normal(30, 16, seed=2).float().requires_grad_(), normal(30, 2, seed=3).float()
    found = []
    for grouped in (False, True):
        monkeypatch.setattr("nanokimi.moe.can_group", lambda *_, grouped=grouped: grouped)
        with autocast(torch.device("cpu"), dtype):
            y = dispatch(x, expert_idx, weights, bank)
        assert y.dtype == dtype
        found.append((y, *torch.autograd.grad(y.float().square().sum(), (x, *bank.parameters()))))
    for loop, group in zip(*found, strict=True):
        torch.testing.assert_close(group, loop, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-5)
