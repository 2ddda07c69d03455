"""Wrong answers to notebook 04, written as a learner writes them, get the name of their mistake."""

import pytest
import torch
import torch.nn.functional as F

from nanokimi.router import RouterStats, scaling_factor, sequence_balance_loss
from tests.course.keys import judge_answer
from tests.sample import sample

pytestmark = pytest.mark.slow  # each answer is compared with all known mistakes


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


def leaving_small_weights_out(least):
    return skipping(lambda e, n, w: w > least)


def by_pairs_of(top_k):
    def answer(x, expert_idx, weights, bank):
        e, order = expert_idx.flatten().sort(stable=True)
        rows = bank(x[order // top_k], e.bincount(minlength=bank.down_proj.shape[0]).tolist())
        return torch.zeros_like(x).index_add(0, order // top_k, rows * weights.flatten()[order, None])

    return answer


def summed_over(n_experts, top_k, n_samples=20_000):
    return factor(torch.sum)(n_experts, top_k, n_samples) / n_samples


NAMED = [
    ("dispatch", leaving_small_weights_out(1e-8), "dispatch_of_weights_above_a_thousandth"),
    ("dispatch", leaving_small_weights_out(0.02), "dispatch_of_weights_above_a_thousandth"),
    ("dispatch", leaving_small_weights_out(0.05), "dispatch_of_weights_above_a_twentieth"),
    ("dispatch", leaving_small_weights_out(0.1), "dispatch_of_weights_above_a_tenth"),
    ("dispatch", leaving_small_weights_out(0.0), "dispatch_of_positive_weights"),
    ("dispatch", skipping(lambda e, n, w: w.abs() > 1e-4), "dispatch_of_weights_far_from_0"),
    ("dispatch", by_pairs_of(2), "dispatch_of_two_choices_each"),
    ("derived_scaling_factor", summed_over, "factor_divided_by_n_samples"),
    ("load_balance_loss", balance(lambda f, p, n: n * (f * p).mean()), "loss_without_factor"),
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
    (
        "sequence_balance_loss",
        lambda stats: sequence_balance_loss(stats) * stats.expert_idx.shape[-1] * len(stats.scores),
        "sequence_loss_summed_without_k",
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


SOME = sample(NAMED, 3)


@pytest.mark.parametrize(("name", "answer", "mistake"), SOME, ids=[f"{n}-{m}" for n, _, m in SOME])
def test_a_wrong_answer_is_named(name, answer, mistake):
    result = judge_answer(name, answer)
    assert result.status == "failed"
    assert [found.name for found in result.diagnoses] == [mistake], result
