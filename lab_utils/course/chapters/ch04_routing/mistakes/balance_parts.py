"""The known wrong answers to load_balance_loss, of notebook 04, with another f or P, or joined in another way."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch04_routing.mistakes.balance_loss import balance_loss, shares
from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load


def mean_probability(stats):
    return stats.logits.softmax(dim=-1).flatten(0, -2).mean(dim=0)


@mistake(
    "The weights of the choices are added up for f; it should count the choices, each as 1.",
    "f is the share of all choices that went to an expert. Does a choice with a small weight count less?",
)
def loss_of_fixed_weights(stats):
    flat = stats.weights.detach().flatten()
    total = torch.zeros(stats.logits.shape[-1]).index_add(0, stats.expert_idx.flatten(), flat)
    return balance_loss(stats, share=total / total.sum())


@mistake(
    "An expert counts for f as chosen or not; it should count how often it was chosen.",
    "If expert 0 has nine tokens and expert 1 has one, what are their shares?",
)
def loss_of_used_or_not(stats):
    used = (expert_load(stats.expert_idx, stats.logits.shape[-1]) > 0).float()
    return balance_loss(stats, share=used / used.sum())


@mistake(
    "Experts are counted only up to the last one that was chosen.",
    "If all tokens go to expert 0 of four, which number does your code take for E?",
)
def loss_by_the_length_of_the_counts(stats):
    load = torch.bincount(stats.expert_idx.flatten())
    return len(load) * (load / load.sum() * mean_probability(stats)[: len(load)]).sum()


@mistake(
    "P is a softmax of the scores. It is the softmax of the logits.",
    "Which field of the stats does the docstring name for P?",
)
def loss_of_softmax_of_scores(stats):
    return balance_loss(stats, probability=stats.scores.softmax(dim=-1))


@mistake(
    "P comes from sigmoids, divided by their sum. This loss is defined on the softmax of the logits.",
    "Sigmoids divided by their sum are not a softmax. What does the docstring say of P?",
)
def loss_of_normalised_sigmoids(stats):
    scores = stats.logits.sigmoid()
    return balance_loss(stats, probability=scores / scores.sum(dim=-1, keepdim=True))


@mistake(
    "P is the mean of the logarithms of the probabilities; it should be the mean of the probabilities.",
    "What do the P_i sum to? Which of softmax and log_softmax gives that?",
)
def loss_of_logarithms(stats):
    return balance_loss(stats, probability=stats.logits.log_softmax(dim=-1))


@mistake(
    "It is the cosine between the counts and the probabilities: both lengths are divided out.",
    "What should come out when one expert takes all: E, or 1?",
)
def loss_as_cosine(stats):
    load = expert_load(stats.expert_idx, stats.logits.shape[-1]).float()
    return F.cosine_similarity(load, mean_probability(stats), dim=0)


@mistake(
    "It is an entropy of the probabilities, and never looks at the choices.",
    "Where does your loss use `expert_idx`?",
)
def loss_as_entropy(stats):
    p = mean_probability(stats)
    return (p * p.log()).sum() + torch.tensor(float(len(p))).log() + 1


@mistake(
    "It is the largest of the products; they should be added.",
    "f and P are 1/4 for each of four experts: what do the four products add up to?",
)
def loss_of_the_largest_product(stats):
    return stats.logits.shape[-1] * (shares(stats) * mean_probability(stats)).max()


@mistake(
    "The number of tokens is that of the sequences: f and P do not sum to 1 where a sequence has several tokens.",
    "How many tokens are there for logits of the shape (2, 5, 4)?",
)
def loss_by_the_number_of_sequences(stats):
    tokens = stats.logits.shape[1]
    return balance_loss(stats) * tokens**2


@mistake(
    "The softmax runs over all tokens. The experts compete for a token, not the tokens for an expert.",
    "Which axis of the logits has n_experts entries?",
)
def loss_with_softmax_over_all_tokens(stats):
    flat = stats.logits.flatten(0, -2)
    return balance_loss(stats, probability=flat.softmax(dim=0)[None])


PARTS = (
    loss_with_softmax_over_all_tokens,
    loss_of_fixed_weights,
    loss_of_used_or_not,
    loss_by_the_length_of_the_counts,
    loss_of_softmax_of_scores,
    loss_of_normalised_sigmoids,
    loss_of_logarithms,
    loss_as_cosine,
    loss_as_entropy,
    loss_of_the_largest_product,
    loss_by_the_number_of_sequences,
)
