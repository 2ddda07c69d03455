"""The known wrong answers to topk_route, of notebook 04."""

from dataclasses import replace

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import RouterStats, scaling_factor
from nanokimi.router import topk_route as core_route


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
    "The bias may change *who* is chosen. May it change the weights of the chosen?",
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
