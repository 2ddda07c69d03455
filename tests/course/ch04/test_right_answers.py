"""Right answers to notebook 04, written in other ways than the core, pass; what only looks right fails."""

import pytest
import torch
import torch.nn.functional as F

from nanokimi.experts import swiglu
from nanokimi.router import RouterStats, scaling_factor
from tests.course.keys import judge_answer

# ---------------------------------------------------------------- topk_route, derived_scaling_factor


def route_by_ranks(logits, expert_bias, cfg):
    logits = logits.to(torch.float32)
    if cfg.scoring == "sigmoid":
        scores = 1 / (1 + torch.exp(-logits))
    else:
        scores = torch.exp(logits - logits.logsumexp(-1, keepdim=True))
    rank = (scores + expert_bias).argsort(dim=-1, descending=True)
    expert_idx = rank[..., : cfg.top_k].flip(-1)
    rows = [scores[b, t, expert_idx[b, t]] for b in range(logits.shape[0]) for t in range(logits.shape[1])]
    weights = torch.stack(rows).view(expert_idx.shape)
    if cfg.norm_topk_prob:
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-20)
    return RouterStats(logits, scores, expert_idx, weights * scaling_factor(cfg))


def route_in_float64_inside(logits, expert_bias, cfg):
    full = logits.double()
    scores = full.sigmoid() if cfg.scoring == "sigmoid" else full.softmax(-1)
    expert_idx = (scores + expert_bias).topk(cfg.top_k, -1).indices
    chosen = torch.zeros_like(scores).scatter(-1, expert_idx, 1)
    weights = scores * chosen
    if cfg.norm_topk_prob:
        weights = F.normalize(weights, p=1, dim=-1)
    weights = torch.take_along_dim(weights, expert_idx, dim=-1) * scaling_factor(cfg)
    return RouterStats(full.float(), scores.float(), expert_idx, weights.float())


def route_widening_twice(logits, expert_bias, cfg):
    scores = logits.float().sigmoid() if cfg.scoring == "sigmoid" else F.softmax(logits.float(), dim=-1)
    with torch.no_grad():
        expert_idx = torch.topk(scores + expert_bias, cfg.top_k, dim=-1, sorted=False)[1]
    weights = torch.gather(scores, 2, expert_idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return logits.float(), scores, expert_idx, scaling_factor(cfg) * weights


def factor_by_sorting(n_experts, top_k, n_samples=20_000):
    generator, found = torch.Generator().manual_seed(0), []
    while len(found) * 1000 < n_samples:
        z = torch.randn(1000, n_experts, generator=generator, dtype=torch.float64)
        best = z.sigmoid().sort(dim=-1, descending=True).values[:, :top_k]
        found.append(best.sum(-1) / (best * best).sum(-1).sqrt())
    return float(torch.cat(found).mean())


def factor_with_torchs_generator_put_back(n_experts, top_k, n_samples=20_000):
    found, generator = [], torch.default_generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(-(-n_samples // 1000)):
            best = torch.randn(1000, n_experts, generator=generator, dtype=torch.float64).topk(top_k).values
            p = F.normalize(best.sigmoid(), p=1, dim=-1)
            found.append((p @ p.mT).diagonal().rsqrt())
    return torch.cat(found).mean().item()


# ---------------------------------------------------------------- load and losses


def load_by_one_hot(expert_idx, n_experts):
    return F.one_hot(expert_idx, n_experts).reshape(-1, n_experts).sum(0)


def load_in_a_loop(expert_idx, n_experts):
    return torch.tensor([int((expert_idx == e).sum()) for e in range(n_experts)])


def load_in_int32(expert_idx, n_experts):
    return torch.histc(expert_idx.float(), n_experts, 0, n_experts - 1).int()


def violation_of_a_list(load):
    fair = load.sum() / len(load)
    return max(load.tolist()) / fair.item() - 1


def violation_by_sorting(load):
    return (len(load) * load.sort().values[-1] / load.sum()).item() - 1


def loss_in_float64(stats):
    n_experts = stats.logits.shape[-1]
    f = F.one_hot(stats.expert_idx, n_experts).double().mean(dim=(0, 1, 2))
    p = stats.logits.double().log_softmax(-1).exp().mean(dim=(0, 1))
    return (n_experts * torch.einsum("e,e->", f, p)).float()


def loss_expert_by_expert(stats):
    n_experts = stats.logits.shape[-1]
    p = torch.softmax(stats.logits, dim=-1).reshape(-1, n_experts).mean(0)
    return n_experts * sum((stats.expert_idx == e).float().mean() * p[e] for e in range(n_experts))


def sequence_loss_in_a_loop(stats):
    """It breaks ties the other way round than topk does."""
    n_experts, top_k, total = stats.scores.shape[-1], stats.expert_idx.shape[-1], 0.0
    for s in stats.scores:
        f = torch.zeros(n_experts)
        for row in s.detach():
            for e in row.argsort(descending=True, stable=True)[:top_k]:
                f[e] += n_experts / (top_k * len(s))
        p = torch.stack([row / row.sum() for row in s]).mean(0)
        total = total + (f @ p) / len(stats.scores)
    return total


def sequence_loss_by_one_hot(stats):
    n_experts, top_k, seq_len = stats.scores.shape[-1], stats.expert_idx.shape[-1], stats.scores.shape[1]
    chosen = F.one_hot(stats.scores.sort(dim=-1).indices[..., -top_k:], n_experts)
    f = chosen.sum(dim=(1, 2)) * n_experts / (top_k * seq_len)
    p = F.normalize(stats.scores, p=1, dim=-1).mean(dim=1)
    return torch.einsum("be,be->b", f, p).mean()


# ---------------------------------------------------------------- update_expert_bias_


def bias_in_whole_numbers(expert_bias, load, rate):
    total, n = int(load.sum()), len(load)
    for e in range(n):
        expert_bias[e] += rate * (int(load[e] * n < total) - int(load[e] * n > total))
    expert_bias -= rate * torch.sign(total - n * load).double().mean()


def bias_by_copying(expert_bias, load, rate):
    up, down = ((sign * (load.float().mean() - load) > 0).float() for sign in (1, -1))
    delta = rate * (up - down)
    expert_bias.data.copy_(expert_bias + delta - delta.mean())


# ---------------------------------------------------------------- dispatch


def dispatch_adding_at_the_tokens(x, expert_idx, weights, bank):
    order = expert_idx.flatten().argsort()
    token = order // expert_idx.shape[1]
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x[token], counts) * weights.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, token, rows)


def dispatch_expert_by_expert(x, expert_idx, weights, bank):
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        token, k = torch.where(expert_idx == e)
        rows = bank(x[token], [len(token) if i == e else 0 for i in range(n_experts)])
        y[token] += weights[token, k].unsqueeze(-1) * rows
    return y


def dispatch_without_the_bank(x, expert_idx, weights, bank):
    rows = [
        torch.stack([swiglu(row, bank.gate_up_proj[e], bank.down_proj[e]) for e in chosen])
        for row, chosen in zip(x, expert_idx.tolist(), strict=True)
    ]
    return torch.einsum("tk,tkd->td", weights, torch.stack(rows))


def dispatch_with_the_inverse(x, expert_idx, weights, bank):
    flat = expert_idx.flatten()
    order = sorted(range(len(flat)), key=lambda i: int(flat[i]))
    counts = [int((flat == e).sum()) for e in range(len(bank.down_proj))]
    rows = bank(x.repeat_interleave(expert_idx.shape[1], dim=0)[order], counts)
    back = rows[torch.tensor(order).argsort()].view(*expert_idx.shape, -1)
    return (weights[:, None] @ back)[:, 0]


RIGHT = [
    ("topk_route", route_by_ranks),
    ("topk_route", route_in_float64_inside),
    ("topk_route", route_widening_twice),
    ("derived_scaling_factor", factor_by_sorting),
    ("derived_scaling_factor", factor_with_torchs_generator_put_back),
    ("expert_load", load_by_one_hot),
    ("expert_load", load_in_a_loop),
    ("expert_load", load_in_int32),
    ("max_violation", violation_of_a_list),
    ("max_violation", violation_by_sorting),
    ("load_balance_loss", loss_in_float64),
    ("load_balance_loss", loss_expert_by_expert),
    ("sequence_balance_loss", sequence_loss_in_a_loop),
    ("sequence_balance_loss", sequence_loss_by_one_hot),
    ("update_expert_bias_", bias_in_whole_numbers),
    ("update_expert_bias_", bias_by_copying),
    ("dispatch", dispatch_adding_at_the_tokens),
    ("dispatch", dispatch_expert_by_expert),
    ("dispatch", dispatch_without_the_bank),
    ("dispatch", dispatch_with_the_inverse),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge_answer(name, answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what only looks right


def route_without_the_weights_gradient(logits, expert_bias, cfg):
    right = route_by_ranks(logits, expert_bias, cfg)
    return right._replace(weights=torch.tensor(right.weights.tolist()))


def route_for_nobody_to_balance(logits, expert_bias, cfg):
    right = route_by_ranks(logits, expert_bias, cfg)
    return right._replace(logits=right.logits.detach(), scores=right.scores.detach())


def route_with_nan_at_low_scores(logits, expert_bias, cfg):
    right = route_by_ranks(logits, expert_bias, cfg)
    chosen = right.scores.gather(-1, right.expert_idx)
    shares = chosen / chosen.sum(-1, keepdim=True) if cfg.norm_topk_prob else chosen
    return right._replace(weights=shares * scaling_factor(cfg))


def factor_that_seeds_everybody(n_experts, top_k, n_samples=20_000):
    torch.manual_seed(0)
    return factor_by_sorting(n_experts, top_k, n_samples)


def violation_of_all_who_have_more(load):
    above = [float(c / load.mean()) - 1 for c in load if c > load.mean()]
    return sum(above) / max(len(above), 1)


def sequence_loss_of_all_as_good_as_the_last(stats):
    top_k, n_experts = stats.expert_idx.shape[-1], stats.scores.shape[-1]
    least = stats.scores.sort(dim=-1, descending=True).values[..., top_k - 1 : top_k]
    f = (stats.scores >= least).float().mean(dim=1) * n_experts / top_k
    return (f * F.normalize(stats.scores, p=1, dim=-1).mean(dim=1)).sum(-1).mean()


def bias_in_half_the_bits(expert_bias, load, rate):
    load = load.half()
    delta = (load < load.mean()).float() - (load > load.mean()).float()
    expert_bias += rate * (delta - delta.mean())


def load_by_adding_once(expert_idx, n_experts):
    load = torch.zeros(n_experts, dtype=torch.long)
    load[expert_idx.flatten()] += 1
    return load


def dispatch_of_all_pairs(x, expert_idx, weights, bank):
    """Right, with every expert on every (token, choice) pair that is another's."""
    y = dispatch_with_the_inverse(x, expert_idx, weights, bank)
    return y + 0 * dispatch_with_the_inverse(x, expert_idx, weights, bank)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("topk_route", route_without_the_weights_gradient),
        ("topk_route", route_for_nobody_to_balance),
        ("topk_route", route_with_nan_at_low_scores),
        ("derived_scaling_factor", factor_that_seeds_everybody),
        ("max_violation", violation_of_all_who_have_more),
        ("sequence_balance_loss", sequence_loss_of_all_as_good_as_the_last),
        ("update_expert_bias_", bias_in_half_the_bits),
        ("expert_load", load_by_adding_once),
        ("dispatch", dispatch_of_all_pairs),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_answer_fails(name, answer):
    assert judge_answer(name, answer).status == "failed"
