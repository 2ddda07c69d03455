"""Wrong answers to the exercises of notebook 04: keeping the load even."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load
from nanokimi.router import sequence_balance_loss as core_sequence_loss

# ---------------------------------------------------------------- load_balance_loss


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
    "P is detached: the loss is reported and teaches nothing, for the counts carry no gradient either.",
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
    "The mean probability stands in both places: P² instead of f · P. It looks at what the router would like, "
    "not at what it does.",
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

# ---------------------------------------------------------------- sequence_balance_loss


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
    "The counts are those of the biased choice. They are to be counted from the scores alone.",
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
    "P is detached: the loss teaches nothing.",
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
    "The scores are averaged over the sequence first and then divided by their sum. It is every token's that are "
    "divided by their sum, and then the mean.",
    "In the formula for P, does the fraction stand inside the sum over t or outside?",
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

# ---------------------------------------------------------------- update_expert_bias_


def step(load, rate):
    load = load.to(torch.float32)
    return rate * (load.mean() - load).sign()


@mistake(
    "The sign is the wrong way round: busy experts get more, and the router collapses faster.",
    "An expert has too many tokens. Should its bias rise or fall?",
)
def bias_up_for_the_busy(expert_bias, load, rate):
    delta = -step(load, rate)
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the step is not taken off: all biases drift together.",
    "Add up the steps of all experts when three are idle and one is busy.",
)
def bias_that_drifts(expert_bias, load, rate):
    expert_bias += step(load, rate)


@mistake(
    "The step is as large as the difference of the loads. Only its sign counts.",
    "A load is off by 1 token, another by 1,000. How far does each bias move?",
)
def bias_in_proportion(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = rate * (load.mean() - load)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias is set to the step instead of moved by it: it forgets every step before.",
    "What is the bias after two equal steps?",
)
def bias_set_anew(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias.copy_(delta - delta.mean())


@mistake(
    "The rate is not used.",
    "Which of the arguments does your function never read?",
)
def bias_without_rate(expert_bias, load, rate):
    delta = step(load, 1.0)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias itself is not changed: a new tensor was made, and the layer still has the old one.",
    "The name ends with an underscore. What does that say in torch?",
)
def bias_changed_in_a_copy(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias = expert_bias + delta - delta.mean()


@mistake(
    "The step is in proportion to how far a load is from the mean. Only the sign of the difference counts.",
    "Two experts have 1 % and 90 % of a fair share. How far does each bias move?",
)
def bias_in_shares(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = rate * (load.mean() - load) / load.mean()
    expert_bias += delta - delta.mean()


@mistake(
    "An expert whose load is exactly the mean is pushed as well: there are two cases where there are three.",
    "What is sign(0), and what does your condition give there?",
)
def bias_of_two_cases(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = torch.where(load < load.mean(), rate, -rate)
    expert_bias += delta - delta.mean()


UPDATE_EXPERT_BIAS = (
    bias_up_for_the_busy,
    bias_that_drifts,
    bias_in_proportion,
    bias_set_anew,
    bias_without_rate,
    bias_changed_in_a_copy,
    bias_in_shares,
    bias_of_two_cases,
)
