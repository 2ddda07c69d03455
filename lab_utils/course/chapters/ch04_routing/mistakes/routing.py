"""Wrong answers to the exercises of notebook 04: choosing experts, weighing them, and how loud they are together."""

from dataclasses import replace

import torch

from lab_utils.course.exercise import mistake
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


@mistake(
    "The bias is added to the logits, so that it gets into the scores. It belongs on the scores, and only to choose.",
    "Which scores should `RouterStats` hold: with the bias, or without?",
)
def route_with_the_bias_on_the_logits(logits, expert_bias, cfg):
    scores = logits.float() + expert_bias
    scores = scores.sigmoid() if cfg.scoring == "sigmoid" else scores.softmax(dim=-1)
    idx = scores.topk(cfg.top_k, dim=-1).indices
    weights = scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits.float(), scores, idx, weights * scaling_factor(cfg))


@mistake(
    "The weights carry no gradient: no error of the layer ever reaches the router, and it stays as it was drawn.",
    "Do the weights of your answer still hang on `logits`? A .detach(), an .item() or a torch.tensor(...) cuts that.",
)
def route_without_gradient(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(weights=right.weights.detach())


@mistake(
    "It computes in the type of the logits. In bfloat16, which has 8 bits, close scores become equal.",
    "The router is in float32 throughout: at which line should that begin?",
)
def route_in_the_type_of_the_logits(logits, expert_bias, cfg):
    scores = logits.sigmoid() if cfg.scoring == "sigmoid" else logits.softmax(dim=-1)
    idx = (scores + expert_bias).topk(cfg.top_k, dim=-1).indices
    weights = scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits, scores, idx, weights * scaling_factor(cfg))


TOPK_ROUTE = (
    route_weighting_with_the_bias,
    route_without_normalising,
    route_without_scaling,
    route_without_bias,
    route_always_sigmoid,
    route_with_softmax_of_the_chosen,
    route_to_the_worst,
    route_with_the_bias_on_the_logits,
    route_without_gradient,
    route_in_the_type_of_the_logits,
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


@mistake(
    "It is one over the mean length; the rule is the mean of one over the length. The two differ a little.",
    "Lengths 0.4 and 0.6: what is 1 over their mean, and what is the mean of 1/0.4 and 1/0.6?",
)
def factor_of_the_mean_length(n_experts, top_k, n_samples=20_000):
    return 1 / sampled(n_experts, top_k, n_samples, lambda z, k: normalised(z.sigmoid(), k).norm(dim=-1))


@mistake(
    "Exactly `n_samples` rows are drawn, in one go. Here they are drawn 1,000 at a time, and all that are drawn count.",
    "For n_samples = 2500, how many draws of 1,000 does it take, and how many rows are that?",
)
def factor_of_exactly_so_many(n_experts, top_k, n_samples=20_000):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n_samples, n_experts, generator=generator, dtype=torch.float64)
    return (1 / normalised(z.sigmoid(), top_k).norm(dim=-1)).mean().item()


@mistake(
    "The last thousand is missing where `n_samples` is no multiple of 1,000: at least that many were asked for.",
    "What does your number of rounds become for n_samples = 2500?",
)
def factor_rounding_down(n_experts, top_k, n_samples=20_000):
    whole = n_samples // 1000 * 1000
    return sampled(n_experts, top_k, whole, lambda z, k: 1 / normalised(z.sigmoid(), k).norm(dim=-1))


DERIVED_SCALING_FACTOR = (
    factor_without_normalising,
    factor_of_logits,
    factor_of_softmax,
    factor_of_the_first,
    factor_upside_down,
    factor_as_square_root,
    factor_of_the_mean_length,
    factor_of_exactly_so_many,
    factor_rounding_down,
)
