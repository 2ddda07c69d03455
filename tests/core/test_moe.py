"""The mixture-of-experts layer against the loop that runs every expert on every token."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from nanokimi.config import MoEConfig
from nanokimi.moe import MoE, dispatch, mix_few
from nanokimi.router import expert_load
from tests import tiny
from tests.core.experts_by_hand import every_expert_loop, expert
from tests.tiny import harsh_

normal = partial(tiny.normal, dtype=torch.float64)

repeatable = settings(max_examples=40, deadline=None, derandomize=True)
D, WIDTH = 6, 5
CFG = MoEConfig(n_routed_experts=5, top_k=2, moe_intermediate_size=WIDTH, routed_scaling_factor=1.7)


def layer_of(cfg: MoEConfig = CFG, seed: int = 0) -> MoE:
    return harsh_(MoE(D, cfg), seed, std=0.7)


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
    # Outputs reach 33, and a number near 0 is a sum of such ones.
    atol = 1e-6 * max(1.0, y.abs().max().item())
    mixed, mixed_stats = layer(x[:, order])
    torch.testing.assert_close(mixed, y[:, order], rtol=1e-5, atol=atol)
    torch.testing.assert_close(mixed_stats.scores, stats.scores[:, order], rtol=1e-5, atol=1e-6)
    alone = torch.cat([layer(x[:1, i : i + 1])[0] for i in range(6)], dim=1)
    torch.testing.assert_close(alone, y[:1], rtol=1e-5, atol=atol)


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


def test_few_tokens_are_mixed_as_many_are():
    """The gathered form against the sorted one: outputs, and the gradients of tokens, weights and experts."""
    layer, x = layer_of(), normal(3, D, dtype=torch.float32)
    stats = layer.route(x[None])
    found = []
    for mix in (dispatch, mix_few):
        rows, weights = x.clone().requires_grad_(), stats.weights[0].detach().requires_grad_()
        out = mix(rows, stats.expert_idx[0], weights, layer.experts)
        found.append(torch.autograd.grad(out.square().sum(), [rows, weights, *layer.experts.parameters()]))
        found[-1] += (out,)
    for sorted_, gathered in zip(*found, strict=True):
        torch.testing.assert_close(gathered, sorted_)
