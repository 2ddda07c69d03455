"""Notebook 04: right answers, written otherwise than the core, pass its checks; what only looks right does not."""

import pytest
import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch04_routing import exercises as routing
from lab_utils.course.judge import judge
from nanokimi.config import MoEConfig
from nanokimi.experts import ExpertBank, swiglu
from nanokimi.router import RouterStats, scaling_factor

EXERCISES = {exercise.name: exercise for exercise in routing.EXERCISES}


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
        weights = weights / weights.sum(-1, keepdim=True)
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


# ---------------------------------------------------------------- find the bug


def by_the_routers_own_scores(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    stats = topk_route(torch.randn(1, 3, 4), torch.tensor([0.0, 0.4, 0.0, -0.2]), cfg)
    w = stats.scores.gather(-1, stats.expert_idx)
    assert torch.allclose(stats.weights, w / w.sum(-1, keepdim=True))


def by_sorted_weights_and_the_default_factor(topk_route):
    cfg, z = MoEConfig(n_routed_experts=4, top_k=4), torch.randn(1, 3, 4)
    without = topk_route(z, torch.zeros(4), cfg)
    with_bias = topk_route(z, torch.tensor([0.0, 1.0, 0.0, 0.0]), cfg)
    assert torch.allclose(without.weights.sort(dim=-1).values, with_bias.weights.sort(dim=-1).values)


def by_weights_as_they_are(topk_route):
    cfg = MoEConfig(n_routed_experts=8, top_k=2, routed_scaling_factor=1.0, norm_topk_prob=False)
    z = torch.randn(2, 3, 8)
    stats = topk_route(z, torch.full((8,), 0.3), cfg)
    torch.testing.assert_close(stats.weights, z.sigmoid().gather(-1, stats.expert_idx))


def by_softmax_scores(topk_route):
    cfg = MoEConfig(n_routed_experts=4, top_k=3, scoring="softmax", routed_scaling_factor=2.0)
    z = torch.randn(1, 5, 4)
    stats = topk_route(z, torch.tensor([0.0, 0.9, 0.0, -0.2]), cfg)
    w = z.softmax(-1).gather(-1, stats.expert_idx)
    torch.testing.assert_close(stats.weights, 2 * w / w.sum(-1, keepdim=True))


def by_groups(topk_route):
    cfg = MoEConfig(n_routed_experts=8, top_k=2, n_group=4, topk_group=1, routed_scaling_factor=1.0)
    stats = topk_route(torch.randn(1, 5, 8), torch.linspace(0, 1, 8), cfg)
    w = stats.scores.gather(-1, stats.expert_idx)
    torch.testing.assert_close(stats.weights, w / w.sum(-1, keepdim=True))


def by_the_gradient(topk_route):
    """With a bias that hides in the weights their gradient is that of other numbers."""
    cfg = MoEConfig(n_routed_experts=3, top_k=2, routed_scaling_factor=1.0)
    slopes = []
    for bias in (torch.zeros(3), torch.tensor([5.0, 2.0, 0.0])):
        z = torch.tensor([[[1.0, 0.5, -3.0]]], requires_grad=True)
        stats = topk_route(z, bias, cfg)
        by_expert = torch.zeros(1, 1, 3).scatter(-1, stats.expert_idx, stats.weights)
        slopes.append(torch.autograd.grad(by_expert[0, 0, 0], z)[0])
    assert torch.allclose(*slopes, atol=1e-6)


def by_the_formula(load_balance_loss):
    z = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    s = z.softmax(-1)
    top = s.topk(2)
    loss = load_balance_loss(RouterStats(z, s, top.indices, top.values))
    f = torch.bincount(top.indices.flatten(), minlength=4) / top.indices.numel()
    assert torch.isclose(loss, 4 * (f * s.mean((0, 1))).sum())


def by_an_even_router(load_balance_loss):
    z, idx = torch.zeros(1, 4, 4), torch.arange(4).view(1, 4, 1)
    assert torch.equal(load_balance_loss(RouterStats(z, z, idx, idx)), torch.tensor(1.0))


def by_the_bank_itself(dispatch):
    bank = ExpertBank(4, 4, 6)
    for p in bank.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(64, 4)
    y = dispatch(x, torch.zeros(64, 1, dtype=torch.long), torch.ones(64, 1), bank)
    assert torch.allclose(y, bank(x, [64, 0, 0, 0]), atol=1e-4)


def by_tokens_without_an_answer(dispatch):
    bank = ExpertBank(4, 4, 6)
    for p in bank.parameters():
        torch.nn.init.normal_(p)
    y = dispatch(torch.randn(64, 4), torch.zeros(64, 1, dtype=torch.long), torch.ones(64, 1), bank)
    assert (y.abs().sum(-1) > 0).all()


RIGHT = [
    ("topk_route", route_by_ranks),
    ("topk_route", route_in_float64_inside),
    ("topk_route", route_widening_twice),
    ("derived_scaling_factor", factor_by_sorting),
    ("expert_load", load_by_one_hot),
    ("expert_load", load_in_a_loop),
    ("expert_load", load_in_int32),
    ("max_violation", violation_of_a_list),
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
    ("test_sound_router", by_the_routers_own_scores),
    ("test_sound_router", by_sorted_weights_and_the_default_factor),
    ("test_sound_router", by_weights_as_they_are),
    ("test_sound_router", by_softmax_scores),
    ("test_sound_router", by_groups),
    ("test_sound_router", by_the_gradient),
    ("test_sound_loss", by_the_formula),
    ("test_sound_loss", by_an_even_router),
    ("test_sound_capacity", by_the_bank_itself),
    ("test_sound_capacity", by_tokens_without_an_answer),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=[answer.__name__ for _, answer in RIGHT])
def test_a_right_answer_passes(name, answer):
    result = judge(EXERCISES[name], answer)
    assert result.status == "passed", result


# ---------------------------------------------------------------- what only looks right


def route_without_the_weights_gradient(logits, expert_bias, cfg):
    right = route_by_ranks(logits, expert_bias, cfg)
    return right._replace(weights=torch.tensor(right.weights.tolist()))


def load_by_adding_once(expert_idx, n_experts):
    load = torch.zeros(n_experts, dtype=torch.long)
    load[expert_idx.flatten()] += 1
    return load


def dispatch_of_all_pairs(x, expert_idx, weights, bank):
    """Right, with every expert on every (token, choice) pair that is another's."""
    y = dispatch_with_the_inverse(x, expert_idx, weights, bank)
    return y + 0 * dispatch_with_the_inverse(x, expert_idx, weights, bank)


def of_the_choice(topk_route):
    """Equal weights whatever the bias, although the bias may change who is chosen: a sound router fails."""
    cfg = MoEConfig(n_routed_experts=4, top_k=2, routed_scaling_factor=1.0)
    z = torch.tensor([[[1.0, 0.5, 0.0, -1.0]]])
    with_bias = topk_route(z, torch.tensor([0.0, 0.0, 0.9, 0.0]), cfg)
    assert torch.allclose(topk_route(z, torch.zeros(4), cfg).weights, with_bias.weights)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("topk_route", route_without_the_weights_gradient),
        ("expert_load", load_by_adding_once),
        ("dispatch", dispatch_of_all_pairs),
        ("test_sound_router", of_the_choice),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_answer_fails(name, answer):
    assert judge(EXERCISES[name], answer).status == "failed"
