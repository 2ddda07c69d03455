"""The known mistakes of topk_route, of notebook 04, that leave its numbers right: gradients, rounding, nan."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.topk_weights import by_biased_scores
from lab_utils.course.exercise import mistake
from nanokimi.router import RouterStats, scaling_factor
from nanokimi.router import topk_route as core_route


@mistake(
    "The scores and the logits that come back carry no gradient: a loss on the balance, which is made of them, could "
    "change nothing.",
    "Which of the returned tensors went through a .detach()? Only the choice has no gradient.",
)
def route_returning_fixed_scores_and_logits(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(logits=right.logits.detach(), scores=right.scores.detach())


@mistake(
    "The scores that come back carry no gradient: a loss on the balance, which may be made of them, could change "
    "nothing.",
    "Which of the returned tensors went through a .detach()? Only the choice has no gradient.",
)
def route_returning_fixed_scores(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(scores=right.scores.detach())


@mistake(
    "The logits that come back carry no gradient: a loss on the balance, which may be made of them, could change "
    "nothing.",
    "Which of the returned tensors went through a .detach()? Only the choice has no gradient.",
)
def route_returning_fixed_logits(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(logits=right.logits.detach())


@mistake(
    "Only the logits that come back carry a gradient: scores and weights have none, and the router would never learn.",
    "Is there a .detach() or a torch.no_grad() around the scores?",
)
def route_of_fixed_scores(logits, expert_bias, cfg):
    right = core_route(logits.detach(), expert_bias, cfg)
    return right._replace(logits=logits.float())


@mistake(
    "Nothing that comes back carries a gradient: no error of the layer ever reaches the router, and it stays as it was "
    "drawn.",
    "Is there a torch.no_grad() or a .detach() around all of it? Only the choice has no gradient.",
)
def route_without_any_gradient(logits, expert_bias, cfg):
    return core_route(logits.detach(), expert_bias, cfg)


@mistake(
    "The sum that divides the weights carries no gradient. A weight depends on the other chosen scores as well.",
    "When the score of the second expert rises, what becomes of the weight of the first?",
)
def route_dividing_by_a_fixed_sum(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True).detach() + 1e-20)
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "The scores are computed in the type of the logits, and made float32 afterwards: they are rounded already.",
    "The router is in float32 throughout: at which line should that begin?",
)
def route_with_scores_rounded_before(logits, expert_bias, cfg):
    scores = (logits.sigmoid() if cfg.scoring == "sigmoid" else logits.softmax(dim=-1)).float()
    idx = (scores + expert_bias).topk(cfg.top_k, dim=-1).indices
    weights = scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits.float(), scores, idx, weights * scaling_factor(cfg))


@mistake(
    "Where all chosen scores are 0 the weights are 0/0, which is nan.",
    "Which small number does the docstring add to the sum?",
)
def route_without_the_small_number(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx)
    if cfg.norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "There is a weight for every expert, 0 for those that are not chosen. There should be one for each chosen expert, "
    "in the order of `expert_idx`.",
    "Which shape does the docstring give for the weights?",
)
def route_with_a_weight_for_everybody(logits, expert_bias, cfg):
    right = by_biased_scores(logits, expert_bias, cfg)
    everybody = torch.zeros_like(right.scores).scatter(-1, right.expert_idx, right.weights)
    return right._replace(weights=everybody)


GRADIENTS = (
    route_returning_fixed_scores_and_logits,
    route_returning_fixed_scores,
    route_returning_fixed_logits,
    route_of_fixed_scores,
    route_without_any_gradient,
    route_dividing_by_a_fixed_sum,
    route_with_scores_rounded_before,
    route_without_the_small_number,
    route_with_a_weight_for_everybody,
)
