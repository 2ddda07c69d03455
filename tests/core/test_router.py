"""The router against loops in double precision, worked-out values and published landmarks."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanokimi.config import MoEConfig
from nanokimi.router import (
    RouterStats,
    derived_scaling_factor,
    expert_load,
    load_balance_loss,
    max_violation,
    scaling_factor,
    sequence_balance_loss,
    topk_route,
    update_expert_bias_,
    z_loss,
)

# The same examples in every run: a near tie between two scores would otherwise fail once in thousands of runs.
repeatable = settings(max_examples=60, deadline=None, derandomize=True)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scores_by_hand(logits: list[float], scoring: str) -> list[float]:
    if scoring == "sigmoid":
        return [1 / (1 + math.exp(-x)) for x in logits]
    total = math.fsum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def route_by_hand(logits: list[float], bias: list[float], cfg: MoEConfig, factor: float) -> dict[int, float]:
    """Expert -> weight for one token, by docs/specification.md, section 1, in Python's double precision."""
    scores = scores_by_hand(logits, cfg.scoring)
    choice = [s + b for s, b in zip(scores, bias, strict=True)]
    allowed = list(range(len(logits)))
    if cfg.n_group > 1:
        size = len(logits) // cfg.n_group
        groups = [allowed[i * size : (i + 1) * size] for i in range(cfg.n_group)]
        worth = [sum(sorted(choice[e] for e in group)[-2:]) for group in groups]
        best = sorted(range(cfg.n_group), key=worth.__getitem__, reverse=True)[: cfg.topk_group]
        allowed = [e for g in best for e in groups[g]]
    chosen = sorted(allowed, key=choice.__getitem__, reverse=True)[: cfg.top_k]
    weights = {e: scores[e] for e in chosen}
    if cfg.norm_topk_prob:
        total = math.fsum(weights.values())
        weights = {e: w / total for e, w in weights.items()}
    return {e: w * factor for e, w in weights.items()}


def rows(stats: RouterStats) -> list[dict[int, float]]:
    """Expert -> weight for every token; fails where a token names one expert twice."""
    found = []
    for experts, weights in zip(stats.expert_idx.flatten(0, -2), stats.weights.flatten(0, -2), strict=True):
        row = dict(zip(experts.tolist(), weights.tolist(), strict=True))
        assert len(row) == len(experts)
        found.append(row)
    return found


def assert_same_rows(found: list[dict[int, float]], wanted: list[dict[int, float]]) -> None:
    assert [set(row) for row in found] == [set(row) for row in wanted]
    for row, expected in zip(found, wanted, strict=True):
        assert row == pytest.approx(expected, rel=2e-6)


@st.composite
def moe_configs(draw) -> MoEConfig:
    n_group = draw(st.integers(1, 4))
    group_size = draw(st.integers(1 if n_group == 1 else 2, 5))
    topk_group = draw(st.integers(1, n_group))
    return MoEConfig(
        n_routed_experts=n_group * group_size,
        top_k=draw(st.integers(1, group_size * topk_group)),
        scoring=draw(st.sampled_from(["sigmoid", "softmax"])),
        norm_topk_prob=draw(st.booleans()),
        routed_scaling_factor=draw(st.sampled_from([0.5, 1.0, 2.827])),
        n_group=n_group,
        topk_group=topk_group,
    )


# ---------------------------------------------------------------- topk_route


@repeatable
@given(cfg=moe_configs(), seed=st.integers(0, 10_000))
@example(cfg=MoEConfig(n_routed_experts=1, top_k=1, routed_scaling_factor=2.0), seed=0)
@example(
    cfg=MoEConfig(n_routed_experts=8, top_k=3, n_group=4, topk_group=2, routed_scaling_factor=1.0), seed=1
)
def test_route_is_the_loop_in_double_precision(cfg, seed):
    """Softmax stands before top-k, and weights sum to one only where that is set; docs/mistakes.md, number 9."""
    logits, bias = (
        2 * normal(2, 3, cfg.n_routed_experts, seed=seed),
        0.3 * normal(cfg.n_routed_experts, seed=seed + 1),
    )
    stats = topk_route(logits, bias, cfg)
    tokens = logits.double().flatten(0, 1).tolist()
    wanted = [route_by_hand(t, bias.double().tolist(), cfg, cfg.routed_scaling_factor) for t in tokens]
    assert_same_rows(rows(stats), wanted)
    scores = torch.tensor([scores_by_hand(t, cfg.scoring) for t in tokens]).view_as(logits)
    torch.testing.assert_close(stats.scores, scores, rtol=2e-6, atol=1e-7)
    torch.testing.assert_close(stats.logits, logits, rtol=0, atol=0)


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize("norm", [True, False])
def test_mistake_6_the_bias_never_enters_the_weights(scoring, norm):
    """With K = E every expert is chosen, so nothing at all may move with the bias."""
    cfg = MoEConfig(n_routed_experts=6, top_k=6, scoring=scoring, norm_topk_prob=norm)
    logits = normal(2, 5, 6)
    without = rows(topk_route(logits, torch.zeros(6), cfg))
    with_bias = rows(topk_route(logits, 10 * normal(6, seed=1), cfg))
    assert_same_rows(with_bias, without)


def test_the_bias_steers_the_choice_and_the_weights_are_the_scores():
    cfg = MoEConfig(n_routed_experts=4, top_k=1, norm_topk_prob=False, routed_scaling_factor=1.0)
    logits = torch.tensor([[[2.0, 0.0, -1.0, 1.0]]])
    assert topk_route(logits, torch.zeros(4), cfg).expert_idx.item() == 0
    stats = topk_route(logits, torch.tensor([0.0, 0.0, 0.7, 0.0]), cfg)
    assert stats.expert_idx.item() == 2
    assert stats.weights.item() == pytest.approx(1 / (1 + math.e), rel=1e-6)


def test_weights_sum_to_the_factor_where_normalised():
    stats = topk_route(normal(2, 50, 16), torch.zeros(16), MoEConfig(n_routed_experts=16, top_k=4))
    torch.testing.assert_close(
        stats.weights.sum(-1), torch.full((2, 50), scaling_factor(MoEConfig(n_routed_experts=16, top_k=4)))
    )


def test_no_expert_of_a_dropped_group_is_chosen_however_low_the_bias():
    """Dropped groups are excluded, not set to a score of 0, which a low bias would make the best of all."""
    cfg = MoEConfig(n_routed_experts=12, top_k=6, n_group=4, topk_group=2)
    stats = topk_route(normal(3, 40, 12), torch.full((12,), -5.0), cfg)
    groups = [set(token) for token in (stats.expert_idx // 3).flatten(0, 1).tolist()]
    assert {len(token) for token in groups} == {2}


def test_a_group_is_worth_its_two_best_experts():
    """Group 0 has the best expert, group 1 the best pair, group 2 the best sum of three."""
    cfg = MoEConfig(n_routed_experts=9, top_k=1, n_group=3, topk_group=1)
    scores = torch.tensor([0.9, 0.1, 0.1, 0.7, 0.65, 0.01, 0.6, 0.6, 0.6])
    assert topk_route(scores.logit().view(1, 1, 9), torch.zeros(9), cfg).expert_idx.item() == 3


@repeatable
@given(
    levels=st.lists(st.integers(-2, 2), min_size=1, max_size=9),
    top_k=st.integers(1, 9),
    scoring=st.sampled_from(["sigmoid", "softmax"]),
)
def test_ties_give_k_different_experts_with_the_best_scores(levels, top_k, scoring):
    top_k = min(top_k, len(levels))
    cfg = MoEConfig(
        n_routed_experts=len(levels),
        top_k=top_k,
        scoring=scoring,
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
    )
    (row,) = rows(topk_route(torch.tensor([[levels]], dtype=torch.float32), torch.zeros(len(levels)), cfg))
    best = sorted(scores_by_hand(levels, scoring), reverse=True)[:top_k]
    assert sorted(row.values(), reverse=True) == pytest.approx(best, rel=2e-6)
    assert row == pytest.approx({e: scores_by_hand(levels, scoring)[e] for e in row}, rel=2e-6)


def test_one_expert_takes_every_token_at_full_weight():
    stats = topk_route(normal(2, 3, 1), torch.tensor([-7.0]), MoEConfig(n_routed_experts=1, top_k=1))
    assert rows(stats) == [{0: 1.0}] * 6


def test_scores_that_underflow_give_weights_of_zero_not_nan():
    stats = topk_route(torch.full((1, 1, 4), -200.0), torch.zeros(4), MoEConfig(n_routed_experts=4, top_k=2))
    assert stats.weights.tolist() == [[[0.0, 0.0]]]


def test_route_computes_in_float32_whatever_it_is_given():
    logits = normal(2, 3, 8).bfloat16()
    cfg = MoEConfig(n_routed_experts=8, top_k=2)
    stats, full = (topk_route(x, torch.zeros(8), cfg) for x in (logits, logits.float()))
    assert stats.weights.dtype == torch.float32
    assert rows(stats) == rows(full)


# ---------------------------------------------------------------- the scaling factor


@pytest.mark.parametrize(
    ("n_experts", "top_k", "listed"),
    [(8, 2, 1.409), (16, 2, 1.412), (16, 4, 1.991), (32, 4, 1.996), (64, 6, 2.446), (384, 8, 2.828)],
)
def test_derived_scaling_factor_is_the_listed_one(n_experts, top_k, listed):
    """To the listed three decimals, and three standard errors (6e-5 each at most) of 20,000 draws."""
    assert derived_scaling_factor(n_experts, top_k) == pytest.approx(listed, abs=5e-4 + 3 * 6.3e-5)


def test_derived_scaling_factor_is_the_integral():
    """E = K = 2 by Gauss-Hermite quadrature, which draws nothing."""
    x, weight = np.polynomial.hermite_e.hermegauss(80)
    s = 1 / (1 + np.exp(-x))
    a, b = np.meshgrid(s, s)
    exact = (np.outer(weight, weight) * (a + b) / np.hypot(a, b)).sum() / weight.sum() ** 2
    assert derived_scaling_factor(2, 2) == pytest.approx(exact, abs=3e-3)
    assert derived_scaling_factor(2, 2, n_samples=200_000) == pytest.approx(exact, abs=6e-4)


def test_scaling_factor_is_derived_only_where_it_is_left_open():
    assert scaling_factor(MoEConfig(n_routed_experts=8, top_k=2, routed_scaling_factor=2.5)) == 2.5
    assert scaling_factor(MoEConfig(n_routed_experts=8, top_k=2, norm_topk_prob=False)) == 1.0
    assert scaling_factor(MoEConfig(n_routed_experts=8, top_k=2)) == derived_scaling_factor(8, 2)
    assert derived_scaling_factor(8, 1) == pytest.approx(1.0, abs=1e-12)


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
