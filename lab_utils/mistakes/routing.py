"""Wrong answers to the exercises of notebook 04: choosing experts and weighing them."""

from dataclasses import replace

import torch

from lab_utils.exercise import mistake
from nanokimi.moe import dispatch as core_dispatch
from nanokimi.router import RouterStats, scaling_factor
from nanokimi.router import topk_route as core_route

# ---------------------------------------------------------------- topk_route


def route(logits, expert_bias, cfg, scored=None, weigh=None, normalise=True, scaled=True):
    """The router written out, with the places where a mistake goes."""
    right = core_route(logits, expert_bias, cfg)
    scores = right.scores if scored is None else scored
    weights = right.scores if weigh is None else weigh
    weights = weights.gather(-1, right.expert_idx)
    if cfg.norm_topk_prob and normalise:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(
        right.logits, scores, right.expert_idx, weights * (scaling_factor(cfg) if scaled else 1.0)
    )


@mistake(
    "The bias gets into the weights: they are taken from the biased scores.",
    "The bias may change *who* is chosen. May it change how loudly the chosen speak?",
)
def route_weighting_with_the_bias(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return route(logits, expert_bias, cfg, weigh=right.scores + expert_bias)


@mistake(
    "The weights of the chosen experts are not normalised to sum to 1.",
    "What does `cfg.norm_topk_prob` ask for?",
)
def route_without_normalising(logits, expert_bias, cfg):
    return route(logits, expert_bias, cfg, normalise=False)


@mistake(
    "The scaling factor is left out.",
    "What should the weights of one token sum to?",
)
def route_without_scaling(logits, expert_bias, cfg):
    return route(logits, expert_bias, cfg, scaled=False)


@mistake(
    "The bias is ignored: the experts with the best scores are taken, however busy they are.",
    "Follow the argument `expert_bias` through your code.",
)
def route_without_bias(logits, expert_bias, cfg):
    return core_route(logits, torch.zeros_like(expert_bias), cfg)


@mistake(
    "The scores are always sigmoids; the configuration may ask for a softmax over the experts.",
    "What values may `cfg.scoring` have?",
)
def route_always_sigmoid(logits, expert_bias, cfg):
    return core_route(logits, expert_bias, replace(cfg, scoring="sigmoid"))


@mistake(
    "The weights are a softmax over the chosen scores. They should be the scores themselves, divided by their sum.",
    "Two chosen scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def route_with_softmax_of_the_chosen(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx).softmax(dim=-1) * scaling_factor(cfg)
    return right._replace(weights=weights)


@mistake(
    "The worst experts are chosen instead of the best.",
    "Print the scores of one token and the experts that you choose for it.",
)
def route_to_the_worst(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    idx = (right.scores + expert_bias).topk(cfg.top_k, dim=-1, largest=False).indices
    weights = right.scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return RouterStats(right.logits, right.scores, idx, weights * scaling_factor(cfg))


TOPK_ROUTE = (
    route_weighting_with_the_bias,
    route_without_normalising,
    route_without_scaling,
    route_without_bias,
    route_always_sigmoid,
    route_with_softmax_of_the_chosen,
    route_to_the_worst,
)

# ---------------------------------------------------------------- derived_scaling_factor


def sampled(n_experts, top_k, n_samples, of):
    """The mean of `of(p)` over the same draws as the core's."""
    generator, total, rounds = torch.Generator().manual_seed(0), 0.0, -(-n_samples // 1000)
    for _ in range(rounds):
        z = torch.randn(1000, n_experts, generator=generator, dtype=torch.float64)
        total += of(z, top_k).mean().item()
    return total / rounds


def normalised(scores, top_k):
    p = scores.topk(top_k, dim=-1).values
    return p / p.sum(dim=-1, keepdim=True)


@mistake(
    "The best scores are not normalised to sum to 1 before their length is taken.",
    "What are the weights that the router really uses?",
)
def factor_without_normalising(n_experts, top_k, n_samples=20_000):
    return sampled(
        n_experts, top_k, n_samples, lambda z, k: 1 / z.sigmoid().topk(k, dim=-1).values.norm(dim=-1)
    )


@mistake(
    "The logits go in without the sigmoid.",
    "The router scores with sigmoids: of which numbers are the best K taken?",
)
def factor_of_logits(n_experts, top_k, n_samples=20_000):
    return sampled(n_experts, top_k, n_samples, lambda z, k: 1 / normalised(z, k).norm(dim=-1))


@mistake(
    "The scores are a softmax over all experts; the rule is for sigmoids.",
    "Which of the two does Moonlight's router use?",
)
def factor_of_softmax(n_experts, top_k, n_samples=20_000):
    return sampled(
        n_experts, top_k, n_samples, lambda z, k: 1 / normalised(z.softmax(dim=-1), k).norm(dim=-1)
    )


@mistake(
    "The first K scores are taken, not the best K.",
    "Which experts does a token go to?",
)
def factor_of_the_first(n_experts, top_k, n_samples=20_000):
    return sampled(
        n_experts, top_k, n_samples, lambda z, k: 1 / normalised(z.sigmoid()[:, :k], k).norm(dim=-1)
    )


@mistake(
    "It is the mean length that is returned, not the mean of its inverse: it shrinks what should be enlarged.",
    "For K = 4 equal weights the length is 1/2. Which factor makes the sum as long as one expert?",
)
def factor_upside_down(n_experts, top_k, n_samples=20_000):
    return sampled(n_experts, top_k, n_samples, lambda z, k: normalised(z.sigmoid(), k).norm(dim=-1))


@mistake(
    "It is sqrt(K), which holds for K equal weights only. The best scores are not equal.",
    "Draw scores, and compute ||p|| for some of them.",
)
def factor_as_square_root(n_experts, top_k, n_samples=20_000):
    return top_k**0.5


DERIVED_SCALING_FACTOR = (
    factor_without_normalising,
    factor_of_logits,
    factor_of_softmax,
    factor_of_the_first,
    factor_upside_down,
    factor_as_square_root,
)

# ---------------------------------------------------------------- dispatch


@mistake(
    "The rows come back in the order of the experts, not of the tokens: every token gets another's result.",
    "After the experts have run, where does the row of token 0 stand?",
)
def dispatch_without_going_back(x, expert_idx, weights, bank):
    top_k = expert_idx.shape[1]
    order = expert_idx.flatten().argsort(stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x[order // top_k], counts)
    return (rows.unflatten(0, (-1, top_k)) * weights[..., None]).sum(dim=1)


@mistake(
    "The weights are not used: the chosen experts are simply added.",
    "Which of the arguments does your function never read?",
)
def dispatch_without_weights(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, torch.ones_like(weights), bank)


@mistake(
    "Only the first choice of each token runs.",
    "How many experts has a token for K = 2?",
)
def dispatch_of_the_first_choice(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx[:, :1].contiguous(), weights[:, :1].contiguous(), bank)


@mistake(
    "The weight is multiplied in before the expert. An expert is not linear: that is another function.",
    "Is expert(w·x) the same as w·expert(x)?",
)
def dispatch_weighting_the_input(x, expert_idx, weights, bank):
    ones = torch.ones_like(weights[:, :1])
    return sum(
        core_dispatch(x * weights[:, k, None], expert_idx[:, k : k + 1], ones, bank)
        for k in range(expert_idx.shape[1])
    )


@mistake(
    "The weights are in the order of the sorted rows, while they belong to the tokens: each row gets another's weight.",
    "Which weight belongs to the first row of expert 0?",
)
def dispatch_with_shuffled_weights(x, expert_idx, weights, bank):
    order = expert_idx.flatten().argsort(stable=True)
    shuffled = torch.empty_like(weights.flatten())
    shuffled = shuffled.index_copy(0, order, weights.flatten())
    return core_dispatch(x, expert_idx, shuffled.view_as(weights), bank)


@mistake(
    "The choices are averaged: there is a division by K too many.",
    "The weights say how much each expert counts. What do they sum to?",
)
def dispatch_averaging(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights, bank) / expert_idx.shape[1]


DISPATCH = (
    dispatch_without_going_back,
    dispatch_without_weights,
    dispatch_of_the_first_choice,
    dispatch_weighting_the_input,
    dispatch_with_shuffled_weights,
    dispatch_averaging,
)
