"""What keeps the load even, against loops in double precision, gradients by hand and published landmarks."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.config import MoEConfig
from nanokimi.router import (
    RouterStats,
    expert_load,
    load_balance_loss,
    max_violation,
    sequence_balance_loss,
    topk_route,
    update_expert_bias_,
    z_loss,
)
from tests.core.router_by_hand import scores_by_hand
from tests.tiny import normal

# The same examples in every run: a near tie between two scores would otherwise fail once in thousands of runs.
repeatable = settings(max_examples=60, deadline=None, derandomize=True)


# ---------------------------------------------------------------- balance losses


def stats_of(logits: torch.Tensor, expert_idx: torch.Tensor, scoring: str = "sigmoid") -> RouterStats:
    scores = logits.sigmoid() if scoring == "sigmoid" else logits.softmax(-1)
    return RouterStats(logits, scores, expert_idx, scores.gather(-1, expert_idx))


def even_choice(batch: int, seq: int, n_experts: int, top_k: int) -> torch.Tensor:
    """Token t takes the experts t·K, t·K + 1, ... modulo E: each as often as every other."""
    return (torch.arange(batch * seq * top_k) % n_experts).view(batch, seq, top_k)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_mistakes_7_and_10_switch_loss_is_one_when_even(top_k):
    """Whatever the probabilities say: an even load gives 1 at every K, also where the gate is confident."""
    choice = even_choice(2, 12, 8, top_k)
    for logits in (torch.zeros(2, 12, 8), 5 * normal(2, 12, 8)):
        assert load_balance_loss(stats_of(logits, choice)).item() == pytest.approx(1.0, abs=1e-6)


def test_switch_loss_is_e_when_collapsed():
    logits = torch.zeros(2, 12, 8)
    logits[..., 3] = 40.0
    loss = load_balance_loss(stats_of(logits, torch.full((2, 12, 1), 3)))
    assert loss.item() == pytest.approx(8.0, abs=1e-5)


@repeatable
@given(
    batch=st.integers(1, 3),
    seq=st.integers(1, 5),
    n_experts=st.integers(1, 6),
    top_k=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_switch_loss_is_the_loop_in_double_precision(batch, seq, n_experts, top_k, seed):
    top_k = min(top_k, n_experts)
    logits = 2 * normal(batch, seq, n_experts, seed=seed)
    choice = logits.topk(top_k).indices
    probability, count = [0.0] * n_experts, [0] * n_experts
    for token, experts in zip(
        logits.double().flatten(0, 1).tolist(), choice.flatten(0, 1).tolist(), strict=True
    ):
        for i, p in enumerate(scores_by_hand(token, "softmax")):
            probability[i] += p / (batch * seq)
        for e in experts:
            count[e] += 1
    wanted = n_experts * sum(c / (batch * seq * top_k) * p for c, p in zip(count, probability, strict=True))
    assert load_balance_loss(stats_of(logits, choice)).item() == pytest.approx(wanted, rel=3e-6)


def test_mistake_12_switch_loss_moves_the_probabilities_not_the_counts():
    """Its gradient by hand: E·p·(f - p·f) / tokens. Detached probabilities would leave none."""
    logits = normal(2, 6, 4, dtype=torch.float64).requires_grad_()
    stats = stats_of(logits, logits.topk(2).indices)
    load_balance_loss(stats).backward()
    f = torch.bincount(stats.expert_idx.flatten(), minlength=4).double() / 24
    p = logits.detach().softmax(-1)
    wanted = 4 * p * (f - (p * f).sum(-1, keepdim=True)) / 12
    torch.testing.assert_close(logits.grad, wanted, rtol=1e-6, atol=1e-9)
    assert logits.grad.abs().max() > 1e-3


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
def test_mistakes_7_and_10_sequence_loss_is_exactly_one_for_a_uniform_router(top_k, scoring):
    logits = torch.full((3, 10, 5), 0.25)
    assert sequence_balance_loss(
        stats_of(logits, even_choice(3, 10, 5, top_k), scoring)
    ).item() == pytest.approx(1.0, abs=1e-6)


@repeatable
@given(
    batch=st.integers(1, 3),
    seq=st.integers(1, 5),
    n_experts=st.integers(1, 6),
    top_k=st.integers(1, 6),
    scoring=st.sampled_from(["sigmoid", "softmax"]),
    seed=st.integers(0, 999),
)
def test_sequence_loss_is_the_loop_in_double_precision(batch, seq, n_experts, top_k, scoring, seed):
    """A loss a sequence, then the mean; the counts are those of the top-k without the bias."""
    top_k = min(top_k, n_experts)
    logits = 2 * normal(batch, seq, n_experts, seed=seed)
    cfg = MoEConfig(n_routed_experts=n_experts, top_k=top_k, scoring=scoring)
    stats = topk_route(logits, 2 * normal(n_experts, seed=seed + 1), cfg)
    losses = []
    for sequence in logits.double().tolist():
        frequency, probability = [0.0] * n_experts, [0.0] * n_experts
        for token in sequence:
            scores = scores_by_hand(token, scoring)
            for e in sorted(range(n_experts), key=scores.__getitem__, reverse=True)[:top_k]:
                frequency[e] += n_experts / (top_k * seq)
            for e in range(n_experts):
                probability[e] += scores[e] / sum(scores) / seq
        losses.append(sum(f * p for f, p in zip(frequency, probability, strict=True)))
    assert sequence_balance_loss(stats).item() == pytest.approx(sum(losses) / batch, rel=3e-6)


def test_mistake_12_sequence_loss_moves_the_probabilities_not_the_counts():
    """Its gradient by hand, through s/sum(s) of sigmoid scores, with the counts held."""
    logits = normal(2, 6, 4, dtype=torch.float64).requires_grad_()
    sequence_balance_loss(stats_of(logits, logits.topk(2).indices)).backward()
    s = logits.detach().sigmoid()
    f = torch.nn.functional.one_hot(s.topk(2).indices, 4).sum((1, 2)).double() * 4 / (2 * 6)
    share = s / s.sum(-1, keepdim=True)
    d_share = (f[:, None] - (f[:, None] * share).sum(-1, keepdim=True)) / s.sum(-1, keepdim=True)
    torch.testing.assert_close(logits.grad, d_share * s * (1 - s) / (6 * 2), rtol=1e-6, atol=1e-9)
    assert logits.grad.abs().max() > 1e-3


def test_z_loss_by_hand():
    even = torch.zeros(1, 2, 8)
    assert z_loss(stats_of(even, even_choice(1, 2, 8, 1))).item() == pytest.approx(math.log(8) ** 2, rel=1e-6)
    logits = torch.tensor([[[0.0, math.log(3)], [1.0, 1.0]]])
    wanted = (math.log(4) ** 2 + (1 + math.log(2)) ** 2) / 2
    assert z_loss(stats_of(logits, even_choice(1, 2, 2, 1))).item() == pytest.approx(wanted, rel=1e-6)


# ---------------------------------------------------------------- load, and the bias that evens it


@repeatable
@given(
    tokens=st.integers(1, 30), n_experts=st.integers(1, 8), top_k=st.integers(1, 8), seed=st.integers(0, 999)
)
def test_expert_load_counts_every_choice_once(tokens, n_experts, top_k, seed):
    top_k = min(top_k, n_experts)
    cfg = MoEConfig(n_routed_experts=n_experts, top_k=top_k)
    stats = topk_route(normal(1, tokens, n_experts, seed=seed), torch.zeros(n_experts), cfg)
    load = expert_load(stats.expert_idx, n_experts)
    flat = stats.expert_idx.flatten().tolist()
    assert load.tolist() == [flat.count(e) for e in range(n_experts)]
    assert load.sum() == tokens * top_k


def test_max_violation_by_hand():
    assert max_violation(torch.tensor([5.0, 5.0, 5.0, 5.0])) == 0.0
    assert max_violation(torch.tensor([0.0, 12.0, 0.0, 0.0])) == 3.0
    assert max_violation(torch.tensor([1.0, 2.0, 3.0])) == 0.5


def test_bias_update_by_hand():
    """Mean load 4: signs (+, -, 0, +), less their mean of 1/4."""
    bias = torch.tensor([0.5, 0.0, 0.0, -0.5])
    update_expert_bias_(bias, torch.tensor([1, 9, 4, 2]), 0.1)
    torch.testing.assert_close(bias, torch.tensor([0.575, -0.125, -0.025, -0.425]), rtol=0, atol=1e-7)


def test_even_load_leaves_the_bias_alone():
    bias = normal(6)
    before = bias.clone()
    update_expert_bias_(bias, torch.full((6,), 17), 1e-3)
    assert torch.equal(bias, before)


@repeatable
@given(load=st.lists(st.integers(0, 1000), min_size=1, max_size=16), rate=st.floats(1e-4, 1.0))
def test_bias_update_never_drifts(load, rate):
    """The mean stays zero; a busier expert never gains on an idler one."""
    bias = torch.zeros(len(load))
    update_expert_bias_(bias, torch.tensor(load), rate)
    assert bias.mean().item() == pytest.approx(0.0, abs=1e-6 * rate)
    by_load = [b for _, b in sorted(zip(load, bias.tolist(), strict=True))]
    assert all(a >= b - 1e-6 * rate for a, b in pairwise(by_load))


def test_bias_update_stays_outside_autograd():
    bias = torch.nn.Parameter(torch.zeros(4))
    update_expert_bias_(bias, torch.tensor([1, 2, 3, 4]), 0.1)
    assert bias.grad_fn is None and bias.grad is None
    logits = normal(1, 5, 4).requires_grad_()
    topk_route(logits, bias, MoEConfig(n_routed_experts=4, top_k=2)).weights.square().sum().backward()
    assert bias.grad is None


def test_a_frozen_skewed_router_is_evened_in_400_updates():
    """E = 8, rate 1e-3: MaxVio falls from 1.66 to 0.05 (docs/specification.md, section 1).

    Every update sees fresh tokens.
    """
    cfg = MoEConfig(n_routed_experts=8, top_k=2)
    generator = torch.Generator().manual_seed(0)
    skew = torch.linspace(-0.64, 0.64, 8)
    bias = torch.zeros(8)

    def load(tokens: int) -> torch.Tensor:
        logits = 0.5 * torch.randn(1, tokens, 8, generator=generator) + skew
        return expert_load(topk_route(logits, bias, cfg).expert_idx, 8)

    assert max_violation(load(50_000).float()) == pytest.approx(1.66, abs=0.02)
    for _ in range(400):
        update_expert_bias_(bias, load(1024), 1e-3)
    assert max_violation(load(50_000).float()) < 0.05
    assert bias.mean().item() == pytest.approx(0.0, abs=1e-6)
