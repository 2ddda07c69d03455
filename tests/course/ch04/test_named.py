"""Wrong answers to notebook 04, written as a learner writes them, get the name of their mistake."""

import functools

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters import find
from lab_utils.course.judge import AnswerKey, judge
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank
from nanokimi.router import RouterStats, scaling_factor


@functools.cache
def key_of(name):
    return AnswerKey(find(name))


def router(weigh, after=lambda stats: stats):
    """A router as a learner writes it, whose weights `weigh` makes of logits, scores, choice and configuration."""

    def answer(logits, expert_bias, cfg):
        z = logits.float()
        scores = z.sigmoid() if cfg.scoring == "sigmoid" else z.softmax(-1)
        idx = (scores + expert_bias).topk(cfg.top_k, dim=-1).indices
        return after(RouterStats(z, scores, idx, weigh(z, scores, idx, cfg) * scaling_factor(cfg)))

    return answer


def divide(total):
    """Weights that are divided by `total` of the chosen scores."""

    def weigh(z, scores, idx, cfg):
        w = scores.gather(-1, idx)
        return w / (total(w) + 1e-20) if cfg.norm_topk_prob else w

    return weigh


def sums(w):
    return w.sum(-1, keepdim=True)


def mixtral(z, scores, idx, cfg):
    return z.gather(-1, idx).softmax(-1) if cfg.norm_topk_prob else scores.gather(-1, idx)


def balance(of):
    """E · sum of what `of` makes of f, P and E."""

    def answer(stats):
        n_experts = stats.logits.shape[-1]
        f = torch.bincount(stats.expert_idx.flatten(), minlength=n_experts) / stats.expert_idx.numel()
        return of(f, stats.logits.softmax(-1).flatten(0, 1).mean(0), n_experts)

    return answer


def by_sequence(count, shares):
    """The sequence-wise loss of other counts or shares."""

    def answer(stats):
        s, k = stats.scores, stats.expert_idx.shape[-1]
        f = count(s, k) * s.shape[-1] / (k * s.shape[1])
        return (f * shares(s, k).mean(1)).sum(-1).mean()

    return answer


def best(s, k):
    return F.one_hot(s.topk(k, -1).indices, s.shape[-1]).sum(dim=(1, 2))


def biased(step):
    """The bias update with another step."""

    def answer(expert_bias, load, rate):
        delta = rate * step(load.float())
        expert_bias += delta - delta.mean()

    return answer


def factor(mean, generator=lambda: torch.Generator().manual_seed(0)):
    """`mean` of the factors, or of draws from another generator."""

    def answer(n_experts, top_k, n_samples=20_000):
        g, found = generator(), []
        while len(found) * 1000 < n_samples:
            z = torch.randn(1000, n_experts, generator=g, dtype=torch.float64).topk(top_k).values.sigmoid()
            found.append(z.sum(-1) / z.norm(dim=-1))
        return float(mean(torch.cat(found)))

    return answer


def skipping(keep):
    """A dispatch, expert by expert, of the pairs that `keep` lets through."""

    def answer(x, expert_idx, weights, bank):
        n_experts, y = len(bank.down_proj), torch.zeros_like(x)
        for e in range(n_experts):
            token, slot = ((expert_idx == e) & keep(e, n_experts, weights)).nonzero(as_tuple=True)
            counts = [len(token) if i == e else 0 for i in range(n_experts)]
            y = y.index_add(0, token, weights[token, slot, None] * bank(x[token], counts))
        return y

    return answer


def repeated(x, expert_idx, weights, bank):
    k, pairs = expert_idx.shape[1], expert_idx.reshape(-1)
    order = pairs.argsort(stable=True)
    load = [int((pairs == e).sum()) for e in range(len(bank.down_proj))]
    rows = bank(torch.cat([x] * k)[order], load) * weights.reshape(-1, 1)[order]
    return torch.zeros_like(x).index_add(0, order // k, rows)


NAMED = [
    ("topk_route", router(mixtral), "route_normalising_by_softmax_of_the_logits"),
    ("topk_route", router(divide(lambda w: w.sum(1, keepdim=True))), "route_dividing_over_the_sequence"),
    ("topk_route", router(divide(lambda w: w.sum())), "route_dividing_by_the_sum_of_all_tokens"),
    ("topk_route", router(divide(lambda w: sums(w).detach())), "route_dividing_by_a_fixed_sum"),
    (
        "topk_route",
        router(divide(sums), lambda r: r._replace(expert_idx=r.expert_idx.sort().values)),
        "route_sorting_the_experts_alone",
    ),
    (
        "topk_route",
        router(divide(sums), lambda r: r._replace(logits=r.logits.detach(), scores=r.scores.detach())),
        "route_returning_fixed_scores_and_logits",
    ),
    ("topk_route", router(divide(lambda w: sums(w) - 1e-20)), "route_without_the_small_number"),
    ("max_violation", lambda c: float(F.relu(c / c.mean() - 1).sum()), "violation_of_all_above_added"),
    ("load_balance_loss", balance(lambda f, p, n: n * (f * f).sum()), "loss_of_squared_shares"),
    ("load_balance_loss", balance(lambda f, p, n: n * torch.max(f * p)), "loss_of_the_largest_product"),
    ("load_balance_loss", balance(lambda f, p, n: n * ((f > 0) / (f > 0).sum() * p).sum()), "loss_of_used_or_not"),
    ("load_balance_loss", balance(lambda f, p, n: F.cosine_similarity(f, p, dim=0)), "loss_as_cosine"),
    (
        "sequence_balance_loss",
        by_sequence(best, lambda s, k: s / s.topk(k).values.sum(-1, keepdim=True)),
        "sequence_loss_divided_by_the_best",
    ),
    (
        "sequence_balance_loss",
        by_sequence(lambda s, k: (s >= s.topk(k).values[..., -1:]).sum(1), lambda s, k: F.normalize(s, p=1, dim=-1)),
        "sequence_loss_counting_equals",
    ),
    ("update_expert_bias_", biased(lambda c: ((c.max() + c.min()) / 2 - c).sign()), "bias_by_the_middle_of_the_range"),
    ("update_expert_bias_", biased(lambda c: (1 / len(c) - c).sign()), "bias_by_a_share_of_one"),
    ("update_expert_bias_", biased(lambda c: (c.half().mean() - c.half()).sign().float()), "bias_by_loads_of_16_bits"),
    ("derived_scaling_factor", factor(lambda f: f.square().mean().sqrt()), "factor_as_root_of_the_mean"),
    ("derived_scaling_factor", factor(lambda f: f.quantile(0.5)), "factor_in_the_middle_of_two"),
    ("derived_scaling_factor", factor(torch.mean, torch.Generator), "factor_without_a_seed"),
    ("derived_scaling_factor", factor(torch.mean, lambda: torch.manual_seed(0)), "factor_from_torchs_own_generator"),
    ("dispatch", repeated, "dispatch_repeating_the_whole"),
    ("dispatch", skipping(lambda e, n, w: w.bool()), "dispatch_of_weights_other_than_0"),
    ("dispatch", skipping(lambda e, n, w: torch.full_like(w, e < n - 1).bool()), "dispatch_without_the_last_expert"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "mistake"), NAMED, ids=[f"{n}-{m}" for n, _, m in NAMED])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge(find(name), answer, key=key_of(name))
    assert result.status == "failed"
    assert [found.name for found in result.diagnoses] == [mistake], result


# ---------------------------------------------------------------- tests that cannot tell


CFG = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)


def some_logits(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def stats_of(logits, idx):
    return RouterStats(logits, logits.sigmoid(), idx, torch.ones(idx.shape))


def by_a_choice_that_changes(topk_route):
    z = torch.tensor([[[1.0, 0.8, -1.0, 0.0]]])
    with_bias = topk_route(z, torch.tensor([0.0, 0.0, 0.9, 0.0]), CFG)
    assert torch.allclose(topk_route(z, torch.zeros(4), CFG).weights, with_bias.weights)


def by_the_sum_alone(topk_route):
    total = topk_route(some_logits(2, 3, 4), torch.linspace(0, 1, 4), CFG).weights.sum(-1)
    assert ((total - 1).abs() < 1e-4).all()


def by_the_default_configuration(topk_route):
    found = topk_route(some_logits(2, 3, 6), torch.linspace(0, 1, 6), MoEConfig(n_routed_experts=6, top_k=3))
    w = found.scores.gather(-1, found.expert_idx)
    assert torch.allclose(found.weights, w / w.sum(-1, keepdim=True), atol=1e-4)


def by_one_choice(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=1, routed_scaling_factor=1.0)
    found = topk_route(some_logits(1, 3, 4), torch.linspace(0, 1, 4), cfg)
    w = found.scores.gather(-1, found.expert_idx)
    assert torch.allclose(found.weights, w / w.sum(-1, keepdim=True))


def by_the_same_experts(load_balance_loss):
    idx = torch.tensor([2, 3]).expand(1, 6, 2)
    assert abs(load_balance_loss(stats_of(torch.zeros(1, 6, 4), idx)).item() - 1) < 1e-3


def by_k_for_an_even_router(load_balance_loss):
    idx = torch.arange(8).view(1, 4, 2) % 4
    assert abs(load_balance_loss(stats_of(torch.zeros(1, 4, 4), idx)).item() - 2) < 1e-3


def by_shape_and_numbers(dispatch):
    x = some_logits(20, 4)
    y = dispatch(x, torch.zeros(20, 1, dtype=torch.long), torch.ones(20, 1), ExpertBank(4, 4, 3))
    assert y.shape == (20, 4)
    assert not y.isnan().any() and not y.isinf().any()


WEAK = [
    ("test_sound_router", by_a_choice_that_changes, "router_test_of_another_choice"),
    ("test_sound_router", by_the_sum_alone, "router_test_of_the_sum"),
    ("test_sound_router", by_the_default_configuration, "router_test_without_the_factor"),
    ("test_sound_router", by_one_choice, "router_test_of_one_expert"),
    ("test_sound_loss", by_the_same_experts, "loss_test_of_two_busy_experts"),
    ("test_sound_loss", by_k_for_an_even_router, "loss_test_of_an_even_k"),
    ("test_sound_capacity", by_shape_and_numbers, "capacity_test_of_shape_and_finite_numbers"),
]


@pytest.mark.parametrize(("name", "answer", "mistake"), WEAK, ids=[answer.__name__ for _, answer, _ in WEAK])
def test_a_test_that_cannot_tell_is_named(name, answer, mistake):
    result = judge(find(name), answer, key=key_of(name))
    assert result.status == "failed"
    assert [found.name for found in result.diagnoses] == [mistake], result


def without_a_batch(topk_route):
    z = torch.tensor([1.0, 0.5, 0.0, -1.0])
    assert topk_route(z, torch.zeros(4), CFG).weights.sum() == 1


def tokens_without_sequences(load_balance_loss):
    idx = (torch.arange(8) % 4).view(8, 1)
    assert abs(load_balance_loss(stats_of(torch.zeros(8, 4), idx)).item() - 1) < 1e-3


def choices_without_an_axis(dispatch):
    dispatch(some_logits(9, 4), torch.zeros(9, dtype=torch.long), torch.ones(9), ExpertBank(4, 4, 3))


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("test_sound_router", without_a_batch, "(4,), where a router takes (batch, seq, "),
        ("test_sound_loss", tokens_without_sequences, "(8, 4) with an expert_idx of (8, 1), where (batch, "),
        ("test_sound_capacity", choices_without_an_axis, "(9, 4), (9,), (9,), where (tokens, d_model), "),
    ],
)  # fmt: skip
def test_a_piece_says_which_shapes_it_takes(name, answer, says):
    result = judge(find(name), answer, key=key_of(name))
    assert result.status == "failed" and says in result.difference.says
