"""Quantile balancing: the next bias against order statistics in loops of numpy, and a training that uses it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nanokimi.config import BalanceConfig, ConfigError, MoEConfig, to_dict
from nanokimi.kimi import Kimi
from nanokimi.quantile_balance import (
    BINS,
    bias_from_counts,
    count_needed,
    has_quantiles,
    needed_bias,
    quantile_bias,
)
from nanokimi.router import RouterStats, expert_load, max_violation, topk_route
from nanokimi.train import train
from tests import tiny
from tests.tiny import normal
from tests.training import drop_clock, make_model, run, take_batch

QUANTILE = BalanceConfig(method="quantile")
CASES = [
    (8, 1, 64),
    (6, 2, 30),
    (5, 4, 7),
    (16, 2, 501),
    (3, 2, 1),
]  # experts, top_k, tokens; shares of 0 too


def route(
    experts: int, top_k: int, tokens: int, scoring: str = "sigmoid"
) -> tuple[RouterStats, torch.Tensor]:
    """A batch of one sequence, routed with a bias, and the bias."""
    bias = 0.3 * normal(experts, seed=1)
    cfg = MoEConfig(n_routed_experts=experts, top_k=top_k, scoring=scoring)
    return topk_route(normal(1, tokens, experts) + normal(experts, seed=2), bias, cfg), bias


def find_bias_in_loops(stats: RouterStats, bias: torch.Tensor, top_k: int) -> np.ndarray:
    """Equations 13 and 14, expert after expert, in float64."""
    scores, b = stats.scores[0].double().numpy(), bias.double().numpy()
    tokens, experts = scores.shape
    found = []
    for e in range(experts):
        margins = []
        for t in range(tokens):
            threshold = sorted((scores[t, j] + b[j] for j in range(experts)), reverse=True)[top_k]
            margins.append(scores[t, e] - threshold)
        q = tokens * top_k // experts
        found.append(-sorted(margins, reverse=True)[q])
    return np.array(found) - np.mean(found)


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("experts", "top_k", "tokens"), CASES)
def test_the_exact_bias_is_an_order_statistic_of_the_margins(experts, top_k, tokens, scoring):
    stats, bias = route(experts, top_k, tokens, scoring)
    found = quantile_bias(needed_bias(stats, bias), top_k)
    np.testing.assert_allclose(found.numpy(), find_bias_in_loops(stats, bias, top_k), rtol=0, atol=5e-7)


@pytest.mark.parametrize(("experts", "top_k", "tokens"), CASES)
def test_the_histogram_gives_it_within_half_a_bin(experts, top_k, tokens):
    """Before the mean is taken off; with it, which moves by as much, within one bin."""
    stats, bias = route(experts, top_k, tokens)
    needed = needed_bias(stats, bias)
    width = (bias.max() - bias.min() + 2) / BINS
    exact = quantile_bias(needed, top_k)
    found = bias_from_counts(count_needed(needed, bias), bias, top_k)
    assert (found - exact).abs().max() <= width
    assert found.mean().abs() < 1e-6
    difference = (found - found[0]) - (exact - exact[0])
    assert difference.abs().max() <= width * 1.001  # two biases, half a bin each


def test_counts_of_micro_batches_add_up_to_those_of_the_batch():
    stats, bias = route(16, 2, 500)
    needed = needed_bias(stats, bias)
    counts = count_needed(needed, bias)
    assert torch.equal(count_needed(needed[:123], bias) + count_needed(needed[123:], bias), counts)
    assert counts.sum(dim=1).tolist() == [500] * 16


def test_a_needed_bias_decides_whether_an_expert_is_chosen():
    """Each that was chosen still is with a bias a little above it, and is not with one a little below."""
    cfg = MoEConfig(n_routed_experts=8, top_k=2)
    stats, bias = route(8, 2, 20)
    needed = needed_bias(stats, bias)
    for token in range(20):
        for expert in stats.expert_idx[0, token].tolist():
            for change in (-1e-3, 1e-3):
                changed = bias.clone()
                changed[expert] = needed[token, expert] + change
                chosen = topk_route(stats.logits, changed, cfg).expert_idx[0, token].tolist()
                assert (expert in chosen) == (change > 0)


def even_out(skew: torch.Tensor, generator: torch.Generator, form: str) -> list[float]:
    """MaxVio of a frozen router of E 16, K 2 before the first update and after each of five, on 4,096 fresh tokens."""
    cfg, bias, found = MoEConfig(n_routed_experts=16, top_k=2), torch.zeros(16), []
    for _ in range(6):
        stats = topk_route(skew + torch.randn(1, 4096, 16, generator=generator), bias, cfg)
        found.append(max_violation(expert_load(stats.expert_idx, 16).float()))
        needed = needed_bias(stats, bias)
        counts = count_needed(needed, bias)
        bias = quantile_bias(needed, 2) if form == "exact" else bias_from_counts(counts, bias, 2)
    return found


@pytest.mark.parametrize("form", ["exact", "histogram"])
def test_frozen_skewed_routers_are_even_after_five_updates(form):
    """Whatever the skew, drawn from N(0, 1). One update takes away most of it, and what is left depends on the draw.

    The ranges are those of docs/specification.md, section 1.
    """
    first, fifth = [], []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        found = even_out(torch.randn(16, generator=generator), generator, form)
        assert found[0] > 1.5 and found[1] < found[0] / 3
        first.append(found[1])
        fifth.append(found[5])
    assert (min(first), max(first)) == pytest.approx((0.24, 0.88), abs=0.02)
    assert (min(fifth), max(fifth)) == pytest.approx((0.06, 0.18), abs=0.02)
    assert sum(each < 0.35 for each in first) == 1


@pytest.mark.parametrize(("form", "after", "last"), [("exact", 0.33, 0.09), ("histogram", 0.32, 0.08)])
def test_the_router_of_the_specification_has_its_numbers(form, after, last):
    """docs/specification.md, section 1: MaxVio 3.37 at first. The router is drawn behind 401 batches of E 8."""
    generator = torch.Generator().manual_seed(0)
    torch.randn(8, generator=generator)
    for _ in range(401):
        torch.randn(4096, 8, generator=generator)
    found = even_out(torch.randn(16, generator=generator), generator, form)
    assert found[0] == pytest.approx(3.37, abs=0.01)
    assert found[1] == pytest.approx(after, abs=0.01) and found[1] < 0.35
    assert found[5] == pytest.approx(last, abs=0.01)


# ---------------------------------------------------------------- in a training


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("grad_accum", [1, 2])
def test_a_step_leaves_the_bias_that_its_own_scores_ask_for(grad_accum, recompute):
    """Those of all micro-batches, each once, also where the forward pass is computed twice."""
    cfg = tiny.train_config(
        steps=1, warmup_steps=0, grad_accum=grad_accum, recompute=recompute, balance=QUANTILE
    )
    model = make_model("kimi-mla", harsh=True)
    layer = model.layers[1].mlp
    bias = layer.expert_bias.clone()
    seen = [model(take_batch(cfg, micro)[0]).routing[0] for micro in range(grad_accum)]
    exact = quantile_bias(torch.cat([needed_bias(stats, bias) for stats in seen]), layer.cfg.top_k)
    run(model, cfg)
    width = (bias.max() - bias.min() + 2) / BINS
    assert (layer.expert_bias - exact).abs().max() <= width
    assert (layer.expert_bias - bias).abs().max() > 10 * width


def test_a_resumed_training_is_the_same_to_the_last_bit(tmp_path):
    cfg = tiny.train_config(balance=QUANTILE)
    whole, stopped, resumed = (make_model("kimi-mla", harsh=True) for _ in range(3))
    expected = run(whole, cfg)
    records = train(stopped, tiny.corpus(), cfg, tmp_path)
    found = [next(records) for _ in range(3)]
    records.close()
    found += train(resumed, tiny.corpus(), cfg, tmp_path, resume=True)
    assert drop_clock(found) == drop_clock(expected)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    with pytest.raises(ConfigError, match=r"its training has balance\.method='quantile', yours its default"):
        next(train(make_model("kimi-mla"), tiny.corpus(), tiny.train_config(), tmp_path, resume=True))


def test_the_settings_are_checked_together():
    with pytest.raises(ConfigError, match=r"^bias_update_rate=0\.1 is not used by method=quantile$"):
        BalanceConfig(method="quantile", bias_update_rate=0.1)
    assert "method" not in to_dict(tiny.train_config())["balance"]
    assert to_dict(tiny.train_config(balance=QUANTILE))["balance"]["method"] == "quantile"


def test_experts_in_groups_are_refused_before_anything_is_written(tmp_path):
    model = tiny.model_config("kimi-mla")
    grouped = replace(model, moe=replace(model.moe, n_group=2, topk_group=1))
    with pytest.raises(ConfigError, match="not for experts in groups"):
        has_quantiles(grouped, QUANTILE)
    with pytest.raises(ConfigError, match=r"moe\.n_group=2"):
        next(train(Kimi(grouped), tiny.corpus(), tiny.train_config(balance=QUANTILE), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_where_every_expert_is_chosen_or_there_is_none_nothing_is_counted():
    model = tiny.model_config("kimi-mla")
    every = replace(model, moe=replace(model.moe, top_k=model.moe.n_routed_experts))
    assert not has_quantiles(every, QUANTILE) and not has_quantiles(tiny.gpt(), QUANTILE)
    assert not has_quantiles(model, BalanceConfig()) and has_quantiles(model, QUANTILE)
