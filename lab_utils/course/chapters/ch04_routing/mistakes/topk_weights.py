"""The known mistakes in the weights of topk_route, of notebook 04."""

from dataclasses import replace

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
    "The weights are a softmax over the chosen scores. They should be the scores themselves, divided by their sum.",
    "Two chosen scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def route_with_softmax_of_the_chosen(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx).softmax(dim=-1) * scaling_factor(cfg)
    return right._replace(weights=weights)


@mistake(
    "The weights are normalised also where `cfg.norm_topk_prob` is False.",
    "Which field of the configuration makes no difference in your function?",
)
def route_always_normalising(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, replace(cfg, norm_topk_prob=True))
    factor = scaling_factor(cfg) / scaling_factor(replace(cfg, norm_topk_prob=True))
    return right._replace(weights=right.weights * factor)


@mistake(
    "The weights are normalised by a softmax over the chosen scores. They should be divided by their sum.",
    "Two chosen scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def route_normalising_by_softmax(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx)
    weights = weights.softmax(dim=-1) if cfg.norm_topk_prob else weights
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "The weights are divided by the sum of all scores, not of the chosen ones.",
    "What should the weights of one token sum to?",
)
def route_dividing_by_all_scores(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.scores.gather(-1, right.expert_idx)
    weights = weights / right.scores.sum(dim=-1, keepdim=True) if cfg.norm_topk_prob else weights
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "The weights are made of the logits of the chosen experts; they should be made of their scores.",
    "Can a logit be negative? Can a weight?",
)
def route_weighting_by_logits(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.logits.gather(-1, right.expert_idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "The scaling factor is used only where the weights are normalised; the docstring says that all are multiplied.",
    "Is the multiplication inside your `if`?",
)
def route_scaling_normalised_weights_only(logits, expert_bias, cfg):
    return route(logits, expert_bias, cfg, scaled=cfg.norm_topk_prob)


@mistake(
    "The scaling factor comes before the division by the sum, which takes it away again.",
    "What do the weights of one token sum to at the very end?",
)
def route_scaling_too_early(logits, expert_bias, cfg):
    return route(logits, expert_bias, cfg, scaled=not cfg.norm_topk_prob)


@mistake(
    "`cfg.routed_scaling_factor` may be None: then the factor is derived. `scaling_factor(cfg)` knows both.",
    "What does your function do when the field is None?",
)
def route_with_the_field_as_factor(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, scaled=False)
    return right._replace(weights=right.weights * cfg.routed_scaling_factor)


@mistake(
    "All chosen experts get the same weight.",
    "Two chosen scores of 0.9 and 0.3: which weights follow?",
)
def route_weighting_alike(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    total = right.weights.sum(dim=-1, keepdim=True)
    return right._replace(weights=(total / cfg.top_k).expand_as(right.weights))


@mistake(
    "The weights carry no gradient: no error of the layer ever reaches the router.",
    "Do the weights of your answer still hang on `logits`? A no_grad(), a .detach(), an .item() or a "
    "torch.tensor(...) cuts that.",
)
def route_without_gradient(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(weights=right.weights.detach())


@mistake(
    "The weights are normalised where `cfg.norm_topk_prob` is False, and left where it is True.",
    "What does your `if` ask?",
)
def route_normalising_the_wrong_way_round(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, normalise=False)
    total = right.weights.sum(dim=-1, keepdim=True) / scaling_factor(cfg)
    return right if cfg.norm_topk_prob else right._replace(weights=right.weights / total)


@mistake(
    "The weights are divided by the largest of them, not by their sum.",
    "What should the weights of one token sum to?",
)
def route_dividing_by_the_largest(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, normalise=False, scaled=False)
    largest = right.weights.amax(dim=-1, keepdim=True) if cfg.norm_topk_prob else 1.0
    return right._replace(weights=right.weights / largest * scaling_factor(cfg))


@mistake(
    "The weights are divided by the scaling factor; they are multiplied by it.",
    "What should the weights of one token sum to?",
)
def route_dividing_by_the_factor(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, scaled=False)
    return right._replace(weights=right.weights / scaling_factor(cfg))


@mistake(
    "The sum of the weights gets 1e-6 more before it divides: where the scores are small, the weights no longer sum to "
    "the scaling factor.",
    "What is the smallest number that keeps a division by 0 away in float32?",
)
def route_with_a_large_epsilon(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, normalise=False)
    total = right.weights.sum(dim=-1, keepdim=True) / scaling_factor(cfg) + 1e-6
    return right._replace(weights=right.weights / total) if cfg.norm_topk_prob else right


@mistake(
    "The weights are a softmax over the logits of the chosen experts, as in Mixtral. They should be the scores, "
    "divided by their sum: with sigmoids these differ.",
    "Two chosen scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def route_normalising_by_softmax_of_the_logits(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg)
    if not cfg.norm_topk_prob:
        return right
    weights = right.logits.gather(-1, right.expert_idx).softmax(dim=-1)
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "The weights are always a softmax over the logits of the chosen experts, as in Mixtral. They should be the scores, "
    "divided by their sum where `cfg.norm_topk_prob` asks for it.",
    "Two chosen scores of 0.9 and 0.3: which weights follow, 0.75 and 0.25, or others?",
)
def route_with_softmax_of_the_chosen_logits(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    weights = right.logits.gather(-1, right.expert_idx).softmax(dim=-1)
    return right._replace(weights=weights * scaling_factor(cfg))


@mistake(
    "Where `cfg.routed_scaling_factor` is None the factor is 1 here. It is derived there, by `scaling_factor(cfg)`.",
    "What does `scaling_factor(cfg)` give when the field is None?",
)
def route_taking_none_for_one(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, scaled=False)
    return right._replace(weights=right.weights * (cfg.routed_scaling_factor or 1.0))


@mistake(
    "The weights are divided by the sum over all tokens. Each token's weights have a sum of their own.",
    "What should the weights of one token sum to? Over which axis is your sum?",
)
def route_dividing_by_the_sum_of_all_tokens(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, normalise=False)
    total = right.weights.sum() / scaling_factor(cfg) + 1e-20
    return right._replace(weights=right.weights / total) if cfg.norm_topk_prob else right


@mistake(
    "The weights are divided by their sum over the tokens of a sequence. The sum is over the experts of a token.",
    "What should the weights of one token sum to? Over which axis is your sum?",
)
def route_dividing_over_the_sequence(logits, expert_bias, cfg):
    right = route(logits, expert_bias, cfg, normalise=False)
    total = right.weights.sum(dim=1, keepdim=True) / scaling_factor(cfg) + 1e-20
    return right._replace(weights=right.weights / total) if cfg.norm_topk_prob else right


@mistake(
    "The weights of a token are sorted, and its experts are not: they no longer belong together.",
    "Which expert does your first weight belong to?",
)
def route_sorting_the_weights_alone(logits, expert_bias, cfg):
    right = by_biased_scores(logits, expert_bias, cfg)
    return right._replace(weights=right.weights.sort(dim=-1, descending=True).values)


@mistake(
    "The experts of a token are sorted after their weights were looked up: they no longer belong together.",
    "Which expert does your first weight belong to?",
)
def route_sorting_the_experts_alone(logits, expert_bias, cfg):
    right = by_biased_scores(logits, expert_bias, cfg)
    return right._replace(expert_idx=right.expert_idx.sort(dim=-1).values)


def by_biased_scores(logits, expert_bias, cfg):
    """The right router; the expert with the best biased score comes first."""
    right = core_route(logits, expert_bias, cfg)
    order = (right.scores + expert_bias).gather(-1, right.expert_idx).argsort(dim=-1, descending=True)
    return right._replace(
        expert_idx=right.expert_idx.gather(-1, order), weights=right.weights.gather(-1, order)
    )


WEIGHTS = (
    route_without_normalising,
    route_without_scaling,
    route_with_softmax_of_the_chosen,
    route_always_normalising,
    route_normalising_by_softmax,
    route_dividing_by_all_scores,
    route_weighting_by_logits,
    route_scaling_normalised_weights_only,
    route_scaling_too_early,
    route_with_the_field_as_factor,
    route_weighting_alike,
    route_without_gradient,
    route_normalising_the_wrong_way_round,
    route_dividing_by_the_largest,
    route_dividing_by_the_factor,
    route_with_a_large_epsilon,
    route_normalising_by_softmax_of_the_logits,
    route_with_softmax_of_the_chosen_logits,
    route_taking_none_for_one,
    route_dividing_by_the_sum_of_all_tokens,
    route_dividing_over_the_sequence,
    route_sorting_the_weights_alone,
    route_sorting_the_experts_alone,
)
