"""Routing and balancing at the edge of what numbers can be, by property tests against double precision.

Logits from -1e4 to 1e4, ties, equal scores, one token, no token, all tokens to one expert, bfloat16, groups: everything
stays finite, weights sum to what they must, and so do gradients.
"""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanokimi.config import BalanceConfig, ConfigError, MoEConfig
from nanokimi.loss import balance_term
from nanokimi.router import (
    RouterStats,
    derived_scaling_factor,
    expert_load,
    load_balance_loss,
    max_violation,
    scaling_factor,
    score_shares,
    sequence_balance_loss,
    topk_route,
    update_expert_bias_,
    z_loss,
)
from tests import tiny
from tests.core.test_router import moe_configs
from tests.training import make_model, run

repeatable = settings(max_examples=80, deadline=None, derandomize=True)
LOSSES = {"switch": load_balance_loss, "sequence": sequence_balance_loss, "z": z_loss}
LEVELS = (
    -1e4,
    -200.0,
    -104.0,
    -90.0,
    -88.0,
    -46.5,
    -46.0,
    -29.0,
    -27.0,
    -1.0,
    -0.0,
    0.0,
    1e-30,
    1.0,
    30.0,
    90.0,
    1e4,
)


@st.composite
def edges(draw) -> tuple[MoEConfig, torch.Tensor, torch.Tensor]:
    """A router, logits (batch, seq, experts) that are drawn from few levels so that ties are common, and a bias."""
    cfg = draw(moe_configs())
    batch, seq = draw(st.sampled_from([(1, 1), (2, 3), (1, 5), (0, 3), (2, 0)]))
    kind = draw(st.sampled_from(["levels", "equal", "one expert", "far below"]))
    if kind == "levels":
        some = draw(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4))
        seed = draw(st.integers(0, 999))
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, seq, cfg.n_routed_experts)
        logits = torch.tensor(some)[torch.randint(len(some), shape, generator=generator)]
    else:
        logits = torch.full((batch, seq, cfg.n_routed_experts), draw(st.sampled_from(LEVELS)))
        if kind == "one expert":
            logits[..., 0] += 10.0
        if kind == "far below":
            logits = logits - torch.arange(cfg.n_routed_experts) / 7
    bias = draw(st.sampled_from([0.0, 0.3, 1e3])) * tiny.normal(cfg.n_routed_experts, seed=1)
    return cfg, logits.bfloat16() if draw(st.booleans()) else logits, bias


def exact_shares(logits: torch.Tensor, scoring: str) -> torch.Tensor:
    """Each score divided by the sum of the scores, in double precision and by logarithms: nothing underflows."""
    log_scores = torch.nn.functional.logsigmoid(logits) if scoring == "sigmoid" else logits
    return (log_scores - log_scores.logsumexp(dim=-1, keepdim=True)).exp()


@repeatable
@given(edges())
def test_routing_is_finite_and_its_weights_are_the_exact_ones(case):
    """At every logit, against double precision; the gradient of the weights too."""
    cfg, logits, bias = case
    logits = logits.requires_grad_()
    stats = topk_route(logits, bias, cfg)
    assert all(part.isfinite().all() for part in (stats.logits, stats.scores, stats.weights))
    assert stats.expert_idx.shape == (*logits.shape[:2], cfg.top_k)
    ordered = stats.expert_idx.sort(dim=-1).values
    assert (ordered[..., 1:] > ordered[..., :-1]).all() and (
        (ordered >= 0) & (ordered < logits.shape[-1])
    ).all()
    exact = logits.detach().double().requires_grad_()
    chosen = exact.gather(-1, stats.expert_idx)
    if cfg.norm_topk_prob:
        weights = exact_shares(chosen, cfg.scoring)
        torch.testing.assert_close(
            stats.weights.sum(-1), torch.full(logits.shape[:2], scaling_factor(cfg)), rtol=1e-5, atol=0
        )
    else:
        weights = (exact.sigmoid() if cfg.scoring == "sigmoid" else exact.softmax(-1)).gather(
            -1, stats.expert_idx
        )
    weights = weights * scaling_factor(cfg)
    # Beyond float32's smallest number a weight is 0.
    torch.testing.assert_close(stats.weights.double(), weights, rtol=2e-5, atol=1e-7)
    mixture = tiny.normal(*stats.weights.shape, seed=2)
    (stats.weights * mixture).sum().backward()
    (weights * mixture.double()).sum().backward()
    assert logits.grad.isfinite().all()
    rough = {"rtol": 1e-2, "atol": 1e-2} if logits.dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(logits.grad.double(), exact.grad, **rough)


@repeatable
@given(edges(), st.sampled_from(sorted(LOSSES)))
def test_balancing_is_finite_and_exact(case, name):
    """The three losses and their gradients against double precision; 0 without a token."""
    cfg, logits, bias = case
    logits = logits.float().requires_grad_()
    loss = LOSSES[name](topk_route(logits, bias, cfg))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    exact = logits.detach().double().requires_grad_()
    wanted = exact_loss(name, exact, topk_route(logits, bias, cfg), cfg)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-6)
    wanted.backward()
    torch.testing.assert_close(logits.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def exact_loss(name: str, logits: torch.Tensor, stats: RouterStats, cfg: MoEConfig) -> torch.Tensor:
    """docs/specification.md, section 1, in double precision with the choice of `stats`; 0 without a token."""
    if not logits.numel():
        return logits.sum()
    experts = logits.shape[-1]
    if name == "z":
        return logits.logsumexp(-1).square().mean()
    if name == "switch":
        share = expert_load(stats.expert_idx, experts).double() / stats.expert_idx.numel()
        return experts * (share * logits.softmax(-1).flatten(0, 1).mean(0)).sum()
    # Which of equal scores are counted is left to the float32 scores, where far more are equal.
    chosen = stats.scores.topk(cfg.top_k, dim=-1, sorted=False).indices
    counts = torch.zeros_like(logits).scatter(-1, chosen, 1.0).sum(-2)
    frequency = counts * experts / (cfg.top_k * logits.shape[1])
    return (frequency * exact_shares(logits, cfg.scoring).mean(-2)).sum(-1).mean()


@repeatable
@given(edges())
@example(
    (MoEConfig(n_routed_experts=4), torch.full((1, 2, 4), -90.0), torch.zeros(4)),
)
def test_shares_of_scores_sum_to_one(case):
    cfg, logits, bias = case
    shares = score_shares(topk_route(logits, bias, cfg))
    torch.testing.assert_close(
        shares.double(), exact_shares(logits.double(), cfg.scoring), rtol=2e-5, atol=1e-7
    )
    torch.testing.assert_close(shares.sum(-1), torch.ones(logits.shape[:2]), rtol=1e-5, atol=0)


@repeatable
@given(edges(), st.sampled_from([1e-3, 1e-2, 1.0]))
def test_loads_and_biases_are_finite(case, rate):
    """Also with all tokens on one expert, and without a token: then nothing is uneven, and no bias moves."""
    cfg, logits, bias = case
    load = expert_load(topk_route(logits, bias, cfg).expert_idx, cfg.n_routed_experts)
    assert load.sum() == logits.shape[0] * logits.shape[1] * cfg.top_k
    violation = max_violation(load.float())
    assert 0 <= violation <= cfg.n_routed_experts / cfg.top_k - 1 + 1e-6
    moved = bias.clone()
    update_expert_bias_(moved, load, rate)
    assert moved.isfinite().all()
    delta = (moved - bias).double()
    assert delta.abs().max() <= 2 * rate + 1e-3 * bias.abs().max()
    if not load.sum():
        assert violation == 0 and torch.equal(moved, bias)


def test_scores_that_underflow_still_choose_by_weight():
    """At -90 float32's sigmoid keeps a few bits, and at -200 none: docs/mistakes.md, number 32."""
    cfg = MoEConfig(n_routed_experts=3, top_k=2, routed_scaling_factor=1.0)
    for low in (-46.0, -90.0, -200.0):
        stats = topk_route(torch.tensor([[[low, low + 1, low - 1e3]]]), torch.tensor([1.0, 1.0, 0.0]), cfg)
        found = dict(zip(stats.expert_idx[0, 0].tolist(), stats.weights[0, 0].tolist(), strict=True))
        assert found == pytest.approx({0: 1 / (1 + math.e), 1: math.e / (1 + math.e)}, rel=1e-5)


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
def test_a_model_whose_router_is_far_away_trains_and_logs_numbers(scoring, tmp_path):
    """Gates of ±1e5: the loss, the balancing terms, entropy and MaxVio are finite, and a step changes the gate."""
    moe = MoEConfig(n_routed_experts=4, top_k=2, moe_intermediate_size=8, scoring=scoring)
    balance = BalanceConfig(switch_coef=0.1, sequence_coef=0.1, z_coef=1e-9, bias_update_rate=0.01)
    for sign in (-1.0, 1.0):
        model = make_model("kimi-mla", moe=moe)
        with torch.no_grad():
            model.layers[1].mlp.gate.copy_(
                sign * 1e4 * torch.rand(4, 16, generator=torch.Generator().manual_seed(0))
            )
            model.layers[1].post_attention_layernorm.weight.fill_(3.0)
        before = model.layers[1].mlp.gate.detach().clone()
        records = run(
            model, tiny.train_config(warmup_steps=0, balance=balance), run_dir=tmp_path / f"{sign:g}"
        )
        assert len(records) == 6
        for record in records:
            numbers = (record.balance_loss, *record.max_vio, *record.router_entropy)
            assert all(math.isfinite(number) for number in numbers)
            assert 0 <= record.router_entropy[0] <= math.log(4) + 1e-6
        assert not torch.equal(model.layers[1].mlp.gate, before)


def test_no_token_adds_nothing_to_the_loss():
    cfg = BalanceConfig(switch_coef=1.0, sequence_coef=1.0, z_coef=1.0)
    for shape in ((0, 3), (2, 0)):
        stats = topk_route(torch.zeros(*shape, 4), torch.zeros(4), MoEConfig(n_routed_experts=4))
        assert balance_term((stats,), cfg).item() == 0.0


@pytest.mark.parametrize(("n_experts", "top_k"), [(2, 3), (8, 0), (0, 1)])
def test_a_factor_of_numbers_that_no_router_has_is_refused(n_experts, top_k):
    with pytest.raises(ConfigError):
        derived_scaling_factor(n_experts, top_k)
