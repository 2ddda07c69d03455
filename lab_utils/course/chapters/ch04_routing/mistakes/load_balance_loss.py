"""The known wrong answers to load_balance_loss, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.balance_loss import balance_loss, shares
from lab_utils.course.chapters.ch04_routing.mistakes.balance_parts import PARTS
from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load


@mistake(
    "The factor E is missing, or a mean over the experts takes it away again: an even router should give 1.",
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


@mistake(
    "P is computed from `stats.scores`, divided by their sum. This loss is defined on the softmax of the logits.",
    "Sigmoids divided by their sum are not a softmax. Which field of the stats does the docstring name for P?",
)
def loss_of_normalised_scores(stats):
    return balance_loss(stats, probability=stats.scores / stats.scores.sum(dim=-1, keepdim=True))


@mistake(
    "The counts are those of the best logit of every token: only one of its K choices counts, and no bias.",
    "Which field of the stats says what was chosen?",
)
def loss_of_the_best_logit(stats):
    return balance_loss(stats, share=shares(stats, stats.logits.argmax(dim=-1)))


@mistake(
    "Only the first choice of every token is counted.",
    "How many choices are there for T tokens?",
)
def loss_of_first_choices(stats):
    return balance_loss(stats, share=shares(stats, stats.expert_idx[..., 0]))


@mistake(
    "The best K logits are counted. The router chooses with a bias: what it chose is in `expert_idx`.",
    "Which field of the stats says what was chosen?",
)
def loss_of_the_best_logits(stats):
    return balance_loss(stats, share=shares(stats, stats.logits.topk(stats.expert_idx.shape[-1]).indices))


@mistake(
    "The shares stand in both places: f² instead of f · P. Counts have no gradient, so this loss has none.",
    "Which of the two factors is a smooth function of the logits?",
)
def loss_of_squared_shares(stats):
    share = shares(stats)
    return stats.logits.shape[-1] * (share * share).sum()


@mistake(
    "The weights of the choices are added up for f; it should count the choices, each as 1.",
    "f is the share of all choices that went to an expert. Does a choice with a small weight count less?",
)
def loss_of_weighted_choices(stats):
    # With the gradient of the weights: who adds them up does not think of detaching them.
    flat = stats.weights.flatten()
    total = torch.zeros(stats.logits.shape[-1]).index_add(0, stats.expert_idx.flatten(), flat)
    return balance_loss(stats, share=total / total.sum())


@mistake(
    "Each sequence is measured by itself. This loss takes all tokens of the batch together.",
    "Over which tokens is P_i the mean?",
)
def loss_by_sequence(stats):
    each = [
        balance_loss(stats._replace(logits=z[None], expert_idx=idx[None]))
        for z, idx in zip(stats.logits, stats.expert_idx)
    ]
    return torch.stack(each).mean()


@mistake(
    "A Python number comes back: it has no gradient. Asked for is a tensor with one entry.",
    "What does .item() leave behind?",
)
def loss_as_a_number(stats):
    return balance_loss(stats).item()


@mistake(
    "The sum over the experts is missing: there is a number for every expert.",
    "Which shape should a loss have?",
)
def loss_for_every_expert(stats):
    n_experts = stats.logits.shape[-1]
    return n_experts * shares(stats) * stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)


@mistake(
    "The factor is K, the number of choices; it should be E, the number of experts.",
    "Take a router with P = f = 1/4 for each of four experts, and compute your loss by hand.",
)
def loss_with_k_for_e(stats):
    return balance_loss(stats, factor=stats.expert_idx.shape[-1])


@mistake(
    "1 is subtracted. An even router should give 1, not 0.",
    "What does the docstring say about a perfectly even router?",
)
def loss_less_one(stats):
    return balance_loss(stats) - 1


@mistake(
    "The sign is wrong: the larger the loss, the more even the router.",
    "What does an optimizer do with a loss?",
)
def loss_upside_down(stats):
    return -balance_loss(stats)


@mistake(
    "The logits stand in for P, without a softmax.",
    "What do the P_i sum to?",
)
def loss_of_bare_logits(stats):
    return balance_loss(stats, probability=stats.logits)


@mistake(
    "The counts are not divided by their sum: the loss grows with the batch.",
    "What do the shares f_i sum to?",
)
def loss_of_counts(stats):
    return balance_loss(stats, share=core_load(stats.expert_idx, stats.logits.shape[-1]))


@mistake(
    "The softmax is taken of the mean logits. P is the mean of the tokens' probabilities.",
    "What comes first: the softmax of each token, or the mean over the tokens?",
)
def loss_of_mean_logits(stats):
    mean = stats.logits.flatten(0, -2).mean(dim=0).softmax(dim=-1)
    return balance_loss(stats, probability=mean.expand_as(stats.logits))


@mistake(
    "The factor E is there twice: the loss of an even router is E.",
    "Take a router with P = f = 1/4 for each of four experts, and compute your loss by hand.",
)
def loss_with_the_factor_twice(stats):
    return balance_loss(stats, factor=stats.logits.shape[-1] ** 2)


@mistake(
    "It is the mean probability of the chosen experts. It should multiply each expert's share with its P.",
    "Two vectors of n_experts numbers are multiplied. Which are yours?",
)
def loss_of_chosen_probabilities(stats):
    return stats.logits.softmax(dim=-1).gather(-1, stats.expert_idx).mean()


@mistake(
    "Choices and probabilities are multiplied token by token, and the mean is taken of the products. First comes the "
    "mean of each over all tokens, then their product.",
    "If one token goes to expert 0 and another to expert 1, which two numbers of expert 0 should be multiplied?",
)
def loss_of_products_by_token(stats):
    hot = torch.zeros_like(stats.logits).scatter(-1, stats.expert_idx, 1 / stats.expert_idx.shape[-1])
    return stats.logits.shape[-1] * (hot * stats.logits.softmax(dim=-1)).sum(dim=-1).mean()


@mistake(
    "The factor is the number of experts that were chosen; it should be the number of all experts.",
    "All tokens go to one of four experts: which factor do you get, and which should it be?",
)
def loss_by_the_experts_in_use(stats):
    return balance_loss(stats, factor=len(stats.expert_idx.unique()))


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
    loss_of_normalised_scores,
    loss_of_the_best_logit,
    loss_of_first_choices,
    loss_of_the_best_logits,
    loss_of_squared_shares,
    loss_of_weighted_choices,
    loss_by_sequence,
    loss_as_a_number,
    loss_for_every_expert,
    loss_with_k_for_e,
    loss_less_one,
    loss_upside_down,
    loss_of_bare_logits,
    loss_of_counts,
    loss_of_mean_logits,
    loss_with_the_factor_twice,
    loss_of_chosen_probabilities,
    loss_of_products_by_token,
    loss_by_the_experts_in_use,
    *PARTS,
)
