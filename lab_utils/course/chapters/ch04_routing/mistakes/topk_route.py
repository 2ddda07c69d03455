"""The known wrong answers to topk_route, of notebook 04."""

from dataclasses import replace

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.topk_gradients import GRADIENTS
from lab_utils.course.chapters.ch04_routing.mistakes.topk_weights import WEIGHTS, route
from lab_utils.course.exercise import mistake
from nanokimi.router import RouterStats, scaling_factor
from nanokimi.router import topk_route as core_route


@mistake(
    "The bias gets into the weights: they are taken from the biased scores.",
    "The bias may change *who* is chosen. May it change the weights of the chosen?",
)
def route_weighting_with_the_bias(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return route(logits, expert_bias, cfg, weigh=right.scores + expert_bias)


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
    "The worst experts are chosen instead of the best.",
    "Print the scores of one token and the experts that you choose for it.",
)
def route_to_the_worst(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    idx = (right.scores + expert_bias).topk(cfg.top_k, dim=-1, largest=False).indices
    weights = right.scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
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
    "It computes in the type of the logits. In bfloat16, which keeps 8 significant bits, close scores become equal.",
    "The router is in float32 throughout: at which line should that begin?",
)
def route_in_the_type_of_the_logits(logits, expert_bias, cfg):
    scores = logits.sigmoid() if cfg.scoring == "sigmoid" else logits.softmax(dim=-1)
    idx = (scores + expert_bias).topk(cfg.top_k, dim=-1).indices
    weights = scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits, scores, idx, weights * scaling_factor(cfg))


def choose(scores, choice, cfg, logits):
    """Experts by `choice`, weights by `scores`."""
    idx = choice.topk(cfg.top_k, dim=-1).indices
    weights = scores.gather(-1, idx)
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(logits.float(), scores, idx, weights * scaling_factor(cfg))


@mistake(
    "The bias is added to the scores for good: the scores that you return and the weights both contain it.",
    "The bias may change *who* is chosen. How many tensors do you need: one, or one with and one without the bias?",
)
def route_of_biased_scores(logits, expert_bias, cfg):
    biased = core_route(logits, expert_bias, cfg).scores + expert_bias
    return choose(biased, biased, cfg, logits)


@mistake(
    "The scores that you return contain the bias, which is there for the choice alone.",
    "Which scores should `RouterStats` hold: with the bias, or without?",
)
def route_returning_biased_scores(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(scores=right.scores + expert_bias)


@mistake(
    "The choice goes by logits + bias; it should go by scores + bias. A logit has another scale than a score.",
    "A bias of 0.4 means much for a score between 0 and 1. And for a logit?",
)
def route_choosing_by_biased_logits(logits, expert_bias, cfg):
    scores = core_route(logits, expert_bias, cfg).scores
    return choose(scores, logits.float() + expert_bias, cfg, logits)


@mistake(
    "The bias is subtracted in the choice: a raised bias drives the tokens away.",
    "An idle expert's bias rises. Should it be chosen more often or less?",
)
def route_subtracting_the_bias(logits, expert_bias, cfg):
    return core_route(logits, -expert_bias, cfg)


@mistake(
    "The bias is added to the weights after they are normalised.",
    "The bias may change *who* is chosen. May it change the weights of the chosen?",
)
def route_adding_the_bias_to_the_weights(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(weights=right.weights + expert_bias[right.expert_idx])


@mistake(
    "The bias is multiplied with the scores; it is added.",
    "What is chosen when every bias is 0?",
)
def route_multiplying_by_the_bias(logits, expert_bias, cfg):
    scores = core_route(logits, expert_bias, cfg).scores
    return choose(scores, scores * expert_bias, cfg, logits)


@mistake(
    "The bias raises a score by a share of it, as in scores · (1 + bias); it is added.",
    "Two experts with the scores 0.9 and 0.1 get a bias of 0.5 each: by how much does each rise?",
)
def route_raising_by_a_share(logits, expert_bias, cfg):
    scores = core_route(logits, expert_bias, cfg).scores
    return choose(scores, scores * (1 + expert_bias), cfg, logits)


@mistake(
    "All tokens of a sequence go to the same experts, the best on average. Every token chooses its own.",
    "Which axis of the scores do you choose along, and what happens to the axis of the tokens?",
)
def route_by_sequence(logits, expert_bias, cfg):
    scores = core_route(logits, expert_bias, cfg).scores
    return choose(scores, (scores + expert_bias).mean(dim=1, keepdim=True).expand_as(scores), cfg, logits)


@mistake(
    "The scores are always a softmax over the experts; the configuration may ask for sigmoids.",
    "What values may `cfg.scoring` have?",
)
def route_always_softmax(logits, expert_bias, cfg):
    return core_route(logits, expert_bias, replace(cfg, scoring="softmax"))


@mistake(
    "The softmax runs over the tokens of a sequence. The experts compete for a token, not the tokens for an expert.",
    "Which axis of the logits has n_experts entries?",
)
def route_with_softmax_over_tokens(logits, expert_bias, cfg):
    scores = logits.float().sigmoid() if cfg.scoring == "sigmoid" else logits.float().softmax(dim=1)
    return choose(scores, scores + expert_bias, cfg, logits)


@mistake(
    "Two experts are always chosen: `cfg.top_k` makes no difference.",
    "Which field of the configuration makes no difference in your function?",
)
def route_always_to_two(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, replace(cfg, top_k=2, routed_scaling_factor=1.0))
    return right._replace(weights=right.weights * scaling_factor(cfg))


@mistake(
    "The logits come back in the type in which they came; they should be float32.",
    "All four tensors are in float32, or whole numbers. Which of yours is not?",
)
def route_returning_the_logits_as_they_came(logits, expert_bias, cfg):
    return core_route(logits, expert_bias, cfg)._replace(logits=logits)


@mistake(
    "The logits and the weights come back in the type in which the logits came; they should be float32.",
    "All four tensors are in float32, or whole numbers. Which of yours is not?",
)
def route_returning_the_type_that_came(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(logits=logits, weights=right.weights.to(logits.dtype))


@mistake(
    "The chosen experts and their weights have changed places: RouterStats(logits, scores, expert_idx, weights).",
    "In which order does the named tuple have its fields?",
)
def route_with_fields_exchanged(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return RouterStats(right.logits, right.scores, right.weights, right.expert_idx)


@mistake(
    "The two kinds of scores are exchanged: softmax where `cfg.scoring` says sigmoid, and the other way round.",
    "What does your `if` ask, and which branch is which?",
)
def route_with_the_kinds_exchanged(logits, expert_bias, cfg):
    return core_route(
        logits, expert_bias, replace(cfg, scoring="softmax" if cfg.scoring == "sigmoid" else "sigmoid")
    )


@mistake(
    "The weights are the K best scores, and the experts those of the biased choice: they do not belong together.",
    "Which expert has the score that you give as the first weight?",
)
def route_with_weights_of_other_experts(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    idx = (right.scores + expert_bias).topk(cfg.top_k, dim=-1).indices
    weights = right.scores.topk(cfg.top_k, dim=-1).values
    if cfg.norm_topk_prob:
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return RouterStats(right.logits, right.scores, idx, weights * scaling_factor(cfg))


@mistake(
    "The scores that you return are divided by their sum; only the weights of the chosen are.",
    "What are the scores of a sigmoid router, before anything is chosen?",
)
def route_returning_shares(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(scores=right.scores / right.scores.sum(dim=-1, keepdim=True))


@mistake(
    "The logits that you return contain the bias.",
    "Which logits should `RouterStats` hold: as the gate gave them, or with the bias?",
)
def route_returning_biased_logits(logits, expert_bias, cfg):
    right = core_route(logits, expert_bias, cfg)
    return right._replace(logits=right.logits + expert_bias)


TOPK_ROUTE = (
    *WEIGHTS,
    *GRADIENTS,
    route_weighting_with_the_bias,
    route_without_bias,
    route_always_sigmoid,
    route_to_the_worst,
    route_with_the_bias_on_the_logits,
    route_in_the_type_of_the_logits,
    route_of_biased_scores,
    route_returning_biased_scores,
    route_choosing_by_biased_logits,
    route_subtracting_the_bias,
    route_adding_the_bias_to_the_weights,
    route_multiplying_by_the_bias,
    route_raising_by_a_share,
    route_by_sequence,
    route_always_softmax,
    route_with_softmax_over_tokens,
    route_always_to_two,
    route_returning_the_logits_as_they_came,
    route_returning_the_type_that_came,
    route_with_fields_exchanged,
    route_with_the_kinds_exchanged,
    route_with_weights_of_other_experts,
    route_returning_shares,
    route_returning_biased_logits,
)
