"""The known wrong answers to sequence_balance_loss, of notebook 04."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import sequence_balance_loss as core_sequence_loss


def sequence_loss(stats, chosen=None, probability=None, over=-2):
    """mean over the batch of sum f_i P_i, with the places where a mistake goes."""
    seq_len, n_experts = stats.scores.shape[-2:]
    top_k = stats.expert_idx.shape[-1]
    chosen = stats.scores.topk(top_k, dim=-1).indices if chosen is None else chosen
    counts = torch.zeros_like(stats.scores).scatter(-1, chosen, 1.0).sum(dim=over, keepdim=True)
    if probability is None:
        probability = stats.scores / stats.scores.sum(dim=-1, keepdim=True)
    tokens = seq_len * (len(stats.scores) if over != -2 else 1)
    mean = probability.mean(dim=over, keepdim=True)
    return (counts * n_experts / (top_k * tokens) * mean).sum(dim=-1).mean()


@mistake(
    "The whole batch is measured as one. The loss is for each sequence by itself, and then the mean.",
    "One sequence uses expert 0 only, the other expert 1 only. Is that even?",
)
def sequence_loss_over_the_batch(stats):
    return sequence_loss(stats, over=(0, 1))


@mistake(
    "The counts are those of the biased choice. They must come from the scores alone.",
    "Which field of the stats knows the bias, and which does not?",
)
def sequence_loss_with_the_bias(stats):
    return sequence_loss(stats, chosen=stats.expert_idx)


@mistake(
    "The scores are not normalised over the experts: sigmoids do not sum to 1.",
    "What do the P_i of one sequence sum to?",
)
def sequence_loss_without_normalising(stats):
    return sequence_loss(stats, probability=stats.scores)


@mistake(
    "P is detached: the loss has no gradient and changes nothing.",
    "Which of the two factors is a smooth function of the logits?",
)
def sequence_loss_without_gradient(stats):
    return core_sequence_loss(stats._replace(scores=stats.scores.detach())) + 0 * stats.scores.sum()


@mistake(
    "The factor K is missing: an even router should give 1.",
    "Put all scores to the same value and compute your loss by hand for K = 2.",
)
def sequence_loss_without_k(stats):
    return core_sequence_loss(stats) * stats.expert_idx.shape[-1]


@mistake(
    "P comes from a softmax of the logits; here it is the scores, divided by their sum.",
    "Which scores does the router use?",
)
def sequence_loss_of_softmax(stats):
    return sequence_loss(stats, probability=stats.logits.softmax(dim=-1))


@mistake(
    "The scores are averaged over the sequence first and then divided by their sum. First divide the scores of every "
    "token by their sum, then take the mean.",
    "In the formula for P, is the fraction inside the sum over t or outside?",
)
def sequence_loss_normalised_late(stats):
    mean = stats.scores.mean(dim=-2, keepdim=True)
    return sequence_loss(stats, probability=mean / mean.sum(dim=-1, keepdim=True))


SEQUENCE_BALANCE_LOSS = (
    sequence_loss_over_the_batch,
    sequence_loss_with_the_bias,
    sequence_loss_without_normalising,
    sequence_loss_without_gradient,
    sequence_loss_without_k,
    sequence_loss_of_softmax,
    sequence_loss_normalised_late,
)
