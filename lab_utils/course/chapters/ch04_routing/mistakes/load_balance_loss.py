"""The known wrong answers to load_balance_loss, of notebook 04."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load


def balance_loss(stats, share=None, probability=None, factor=None):
    """E · sum f_i P_i, with the places where a mistake goes."""
    n_experts = stats.logits.shape[-1]
    if share is None:
        share = core_load(stats.expert_idx, n_experts) / stats.expert_idx.numel()
    if probability is None:
        probability = stats.logits.softmax(dim=-1)
    product = (share * probability.flatten(0, -2).mean(dim=0)).sum()
    return (n_experts if factor is None else factor) * product


@mistake(
    "The factor E is missing: an even router should give 1.",
    "Take a router with P = f = 1/4 for each of four experts, and compute your loss by hand.",
)
def loss_without_factor(stats):
    return balance_loss(stats, factor=1)


@mistake(
    "The counts are divided by the tokens, not by tokens · K: the loss is too large by the factor K.",
    "What do the shares f_i sum to?",
)
def loss_too_large_by_k(stats):
    return stats.expert_idx.shape[-1] * balance_loss(stats)


@mistake(
    "P is taken over the chosen experts only. It is the mean over all tokens and all experts.",
    "What do the P_i sum to?",
)
def loss_over_the_chosen(stats):
    chosen = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1.0)
    return balance_loss(stats, probability=stats.logits.softmax(dim=-1) * chosen)


@mistake(
    "P is detached: the loss has no gradient and changes nothing, for the counts have none either.",
    "Which of the two factors is a smooth function of the logits?",
)
def loss_without_gradient(stats):
    return balance_loss(stats, probability=stats.logits.softmax(dim=-1).detach())


@mistake(
    "P is computed from sigmoids. This loss is defined on softmax probabilities.",
    "What do the P_i sum to?",
)
def loss_of_sigmoids(stats):
    return balance_loss(stats, probability=stats.logits.sigmoid())


@mistake(
    "P is computed from `stats.scores`, which may be sigmoids. This loss is defined on the softmax of the logits.",
    "What do the P_i sum to?",
)
def loss_of_the_scores(stats):
    return balance_loss(stats, probability=stats.scores)


@mistake(
    "The softmax runs over the tokens of a sequence. The experts compete for a token, not the tokens for an expert.",
    "Which axis of the logits has n_experts entries?",
)
def loss_with_softmax_over_tokens(stats):
    return balance_loss(stats, probability=stats.logits.softmax(dim=1))


@mistake(
    "The mean probability stands in both places: P² instead of f · P. It looks at the probabilities twice, "
    "and never at the choices.",
    "Where does your loss use `expert_idx`?",
)
def loss_of_squares(stats):
    mean = stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)
    return balance_loss(stats, share=mean)


@mistake(
    "The loss sums over tokens where it should take their mean: it grows with the batch.",
    "Give it the same token twice. Should the loss double?",
)
def loss_summed_over_tokens(stats):
    return balance_loss(stats) * stats.logits.flatten(0, -2).shape[0]


LOAD_BALANCE_LOSS = (
    loss_without_factor,
    loss_too_large_by_k,
    loss_over_the_chosen,
    loss_without_gradient,
    loss_of_sigmoids,
    loss_of_the_scores,
    loss_with_softmax_over_tokens,
    loss_of_squares,
    loss_summed_over_tokens,
)
