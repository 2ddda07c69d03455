"""The mixture-of-experts layer against the loop that runs every expert on every token."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.moe import MoE, dispatch
from nanokimi.router import expert_load
from tests.tiny import harsh_

repeatable = settings(max_examples=40, deadline=None, derandomize=True)
D, WIDTH = 6, 5
CFG = MoEConfig(n_routed_experts=5, top_k=2, moe_intermediate_size=WIDTH, routed_scaling_factor=1.7)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bank_of(n_experts: int, seed: int = 0) -> ExpertBank:
    return harsh_(ExpertBank(n_experts, D, WIDTH).double(), seed, std=0.7)


def layer_of(cfg: MoEConfig = CFG, seed: int = 0) -> MoE:
    return harsh_(MoE(D, cfg), seed, std=0.7)


def expert(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """One expert on all tokens, written with its own products."""
    width = down.shape[1]
    gate, up = x @ gate_up[:width].T, x @ gate_up[width:].T
    return (gate * torch.sigmoid(gate) * up) @ down.T


def every_expert_loop(
    x: Tensor, expert_idx: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor
) -> Tensor:
    """Every expert on every token, its output times the token's weight for it: 0 where it was not chosen."""
    y = torch.zeros_like(x)
    for e in range(len(gate_up)):
        weight = (weights * (expert_idx == e)).sum(-1, keepdim=True)
        y = y + weight * expert(x, gate_up[e], down[e])
    return y


def distinct_choices(tokens: int, n_experts: int, top_k: int, seed: int) -> Tensor:
    return normal(tokens, n_experts, seed=seed).topk(top_k).indices


# ---------------------------------------------------------------- dispatch


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


# ---------------------------------------------------------------- the layer


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n_shared_experts": 0},
        {"n_shared_experts": 3},
        {"scoring": "softmax", "norm_topk_prob": False},
        {"n_routed_experts": 8, "n_group": 4, "topk_group": 2, "top_k": 3},
        {"n_routed_experts": 1, "top_k": 1},
        {"top_k": 5},
    ],
    ids=str,
)
def test_layer_is_the_loop_with_the_shared_experts_beside_it(changes):
    """y = sum of w · expert(x) + shared(x), in double precision from the gate on.

    See docs/mistakes.md, numbers 1, 9, 13 and 15.
    """
    cfg = replace(CFG, **changes)
    layer = layer_of(cfg)
    x = normal(2, 7, D, dtype=torch.float32)
    y, stats = layer(x)
    flat = x.double().flatten(0, 1)
    scores = flat @ layer.gate.double().T
    scores = scores.sigmoid() if cfg.scoring == "sigmoid" else scores.softmax(-1)
    weights = scores.gather(-1, stats.expert_idx.flatten(0, 1))
    if cfg.norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True)
    bank = layer.experts
    wanted = every_expert_loop(
        flat,
        stats.expert_idx.flatten(0, 1),
        1.7 * weights,
        bank.gate_up_proj.double(),
        bank.down_proj.double(),
    )
    if cfg.n_shared_experts:
        shared = layer.shared_experts
        assert shared.down_proj.shape == (D, cfg.n_shared_experts * WIDTH)
        wanted = wanted + expert(flat, shared.gate_up_proj.double(), shared.down_proj.double())
    torch.testing.assert_close(y, wanted.float().view_as(x), rtol=1e-5, atol=2e-6)
    if cfg.n_group == 1:
        best = (scores + layer.expert_bias.double()).topk(cfg.top_k).indices
        assert torch.equal(best.sort().values, stats.expert_idx.flatten(0, 1).sort().values)


def test_layer_gradients_are_the_loops():
    """Through the weights to the gate too, which learns only by them."""
    layer, x = layer_of(), normal(2, 7, D, dtype=torch.float32).requires_grad_()
    cotangent = normal(2, 7, D, seed=1, dtype=torch.float32)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    y, stats = layer(x)
    found = torch.autograd.grad(y, (x, *parameters), cotangent)

    p = {
        name: value.detach().double().requires_grad_() for name, value in zip(names, parameters, strict=True)
    }
    x64 = x.detach().double().requires_grad_()
    flat, expert_idx = x64.flatten(0, 1), stats.expert_idx.flatten(0, 1)
    weights = (flat @ p["gate"].T).sigmoid().gather(-1, expert_idx)
    weights = 1.7 * weights / weights.sum(-1, keepdim=True)
    loop = every_expert_loop(flat, expert_idx, weights, p["experts.gate_up_proj"], p["experts.down_proj"])
    loop = loop + expert(flat, p["shared_experts.gate_up_proj"], p["shared_experts.down_proj"])
    wanted = torch.autograd.grad(loop.view_as(x64), (x64, *(p[name] for name in names)), cotangent.double())
    for name, ours, theirs in zip(("x", *names), found, wanted, strict=True):
        torch.testing.assert_close(
            ours, theirs.float(), rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )
        assert ours.abs().max() > 1e-3


def test_mistake_13_the_factor_scales_the_routed_experts_alone():
    x = normal(2, 7, D, dtype=torch.float32)
    one, three = (
        layer_of(replace(CFG, routed_scaling_factor=1.0)),
        layer_of(replace(CFG, routed_scaling_factor=3.0)),
    )
    shared = one.shared_experts(x)
    torch.testing.assert_close(three(x)[0] - shared, 3 * (one(x)[0] - shared), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        three.experts.down_proj.zero_()
    torch.testing.assert_close(three(x)[0], shared, rtol=0, atol=0)


def test_mistake_6_with_every_expert_chosen_the_output_does_not_move_with_the_bias():
    layer, x = layer_of(replace(CFG, top_k=5)), normal(2, 7, D, dtype=torch.float32)
    before, _ = layer(x)
    layer.expert_bias += 3 * torch.arange(5)
    torch.testing.assert_close(layer(x)[0], before, rtol=1e-5, atol=1e-6)


def test_the_bias_does_move_the_choice():
    layer, x = layer_of(), normal(2, 7, D, dtype=torch.float32)
    layer.expert_bias.copy_(torch.tensor([0.0, 9.0, 0.0, 0.0, 9.0]))
    assert set(layer(x)[1].expert_idx.flatten().tolist()) == {1, 4}


@repeatable
@given(order=st.permutations(range(6)), seed=st.integers(0, 999))
def test_layer_treats_every_token_by_itself(order, seed):
    """Permuted tokens give permuted outputs: no token sees another, none is dropped for another."""
    layer, x, order = (
        layer_of(seed=seed),
        normal(2, 6, D, seed=seed, dtype=torch.float32),
        torch.tensor(order),
    )
    y, stats = layer(x)
    mixed, mixed_stats = layer(x[:, order])
    torch.testing.assert_close(mixed, y[:, order], rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(mixed_stats.scores, stats.scores[:, order], rtol=1e-5, atol=1e-6)
    alone = torch.cat([layer(x[:1, i : i + 1])[0] for i in range(6)], dim=1)
    torch.testing.assert_close(alone, y[:1], rtol=1e-5, atol=2e-6)


def test_mistake_11_activation_checkpointing_changes_no_count_and_no_buffer():
    """The second forward of checkpointing must leave no trace: counts are returned, not kept."""
    layer, x = layer_of(), normal(2, 7, D, dtype=torch.float32).requires_grad_()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    y, stats = checkpoint(layer, x, use_reentrant=False)
    y.square().sum().backward()
    assert expert_load(stats.expert_idx, 5).sum() == 2 * 7 * CFG.top_k
    assert layer.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    gradient = layer.gate.grad.clone()
    layer.zero_grad()
    layer(x.detach())[0].square().sum().backward()
    torch.testing.assert_close(layer.gate.grad, gradient, rtol=1e-6, atol=1e-7)


def test_the_router_stays_in_float32_under_autocast():
    """Bit for bit: rounded scores would flip experts at random."""
    layer, x = layer_of(), normal(2, 7, D, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert F.linear(x, layer.gate).dtype == torch.bfloat16
        _, rounded = layer(x)
    _, full = layer(x)
    for name in ("logits", "scores", "weights"):
        assert torch.equal(getattr(rounded, name), getattr(full, name)), name


def test_expert_bias_is_a_saved_float32_buffer_that_no_optimizer_sees():
    layer = layer_of()
    assert "expert_bias" in layer.state_dict()
    assert "expert_bias" not in dict(layer.named_parameters())
    assert layer.expert_bias.dtype == torch.float32
    layer(normal(1, 3, D, dtype=torch.float32))[0].sum().backward()
    assert layer.expert_bias.grad is None
