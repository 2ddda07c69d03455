"""The router's choice and its weights against loops in double precision, worked-out values and published landmarks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanokimi.config import MoEConfig
from nanokimi.router import (
    derived_scaling_factor,
    scaling_factor,
    topk_route,
)
from tests.core.router_by_hand import route_by_hand, rows, scores_by_hand
from tests.tiny import normal

# The same examples in every run: a near tie between two scores would otherwise fail once in thousands of runs.
repeatable = settings(max_examples=60, deadline=None, derandomize=True)


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
