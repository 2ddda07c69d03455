"""The known wrong answers to sequence_balance_loss, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.sequence_loss import sequence_loss
from lab_utils.course.chapters.ch04_routing.mistakes.sequence_parts import SEQUENCE_PARTS
from lab_utils.course.exercise import mistake
from nanokimi.router import RouterStats, load_balance_loss
from nanokimi.router import sequence_balance_loss as core_sequence_loss


@mistake(
    "The whole batch is measured as one. The loss is for each sequence by itself, and then the mean.",
    "If one sequence uses expert 0 only and the other expert 1 only, is that even?",
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


@mistake(
    "The losses of the sequences are summed; the loss of a batch is their mean.",
    "With twice as many sequences, should the loss double?",
)
def sequence_loss_summed(stats):
    return sequence_loss(stats) * len(stats.scores)


@mistake(
    "There is a loss for every sequence; the mean over the batch is missing.",
    "Which shape should a loss have?",
)
def sequence_loss_of_each(stats):
    return torch.stack(
        [sequence_loss(RouterStats(*(part[i : i + 1] for part in stats))) for i in range(len(stats.scores))]
    )


@mistake(
    "The factor E is missing: an even router should give 1. A mean over the experts in the place of a sum does this.",
    "Put all scores to the same value and compute your loss by hand.",
)
def sequence_loss_without_e(stats):
    return sequence_loss(stats) / stats.scores.shape[-1]


@mistake(
    "The counts are not divided by the length of the sequence: a long one counts more.",
    "With the same sequence twice as long, should its loss double?",
)
def sequence_loss_without_t(stats):
    return sequence_loss(stats) * stats.scores.shape[-2]


@mistake(
    "E and K are exchanged in the factor E/(K·T).",
    "Put all scores to the same value and compute your loss by hand.",
)
def sequence_loss_with_e_and_k_exchanged(stats):
    n_experts, top_k = stats.scores.shape[-1], stats.expert_idx.shape[-1]
    return sequence_loss(stats) * (top_k / n_experts) ** 2


@mistake(
    "Only the best score of each token is counted; the K best are.",
    "How many experts of a token count, for K = 2?",
)
def sequence_loss_of_the_best(stats):
    return sequence_loss(stats, chosen=stats.scores.argmax(dim=-1, keepdim=True)) * stats.expert_idx.shape[-1]


@mistake(
    "The K worst scores are counted.",
    "Print the scores of one token and the experts that you count for it.",
)
def sequence_loss_of_the_worst(stats):
    worst = stats.scores.topk(stats.expert_idx.shape[-1], dim=-1, largest=False).indices
    return sequence_loss(stats, chosen=worst)


@mistake(
    "Your loss is E/T, whatever the scores are. Something is taken along the tokens that should be taken along the "
    "experts: the sum that divides, or the K best.",
    "Which axis of the scores has n_experts entries?",
)
def sequence_loss_normalised_over_tokens(stats):
    return sequence_loss(stats, probability=stats.scores / stats.scores.sum(dim=1, keepdim=True))


@mistake(
    "It is the loss of repair 1, sequence by sequence: the counts know the bias, and P is a softmax.",
    "Which scores does this loss use, and which choices does it count?",
)
def sequence_loss_of_repair_1(stats):
    return sequence_loss(stats, chosen=stats.expert_idx, probability=stats.logits.softmax(dim=-1))


@mistake(
    "It is the loss of repair 1.",
    "What is measured for each sequence by itself, and with which scores?",
)
def sequence_loss_as_before(stats):
    return load_balance_loss(stats)


@mistake(
    "P is a softmax of the scores. The scores are already what counts: divide them by their sum.",
    "Two scores of 0.9 and 0.3: which shares follow, 0.75 and 0.25, or others?",
)
def sequence_loss_of_softmax_of_scores(stats):
    return sequence_loss(stats, probability=stats.scores.softmax(dim=-1))


@mistake(
    "A Python number comes back: it has no gradient. Asked for is a tensor with one entry.",
    "What does .item() leave behind?",
)
def sequence_loss_as_a_number(stats):
    return sequence_loss(stats).item()


@mistake(
    "The weights of the choices are added up for f; it should count the choices, each as 1.",
    "What does count_i say?",
)
def sequence_loss_of_weighted_choices(stats):
    top_k, n_experts = stats.expert_idx.shape[-1], stats.scores.shape[-1]
    best = stats.scores.detach().topk(top_k, dim=-1)
    counts = torch.zeros_like(stats.scores).scatter(-1, best.indices, best.values).sum(dim=1)
    shares = stats.scores / stats.scores.sum(dim=-1, keepdim=True)
    f = counts * n_experts / counts.sum(dim=-1, keepdim=True)
    return (f * shares.mean(dim=1)).sum(dim=-1).mean()


@mistake(
    "Only the first sequence of the batch is measured.",
    "Over what is the loss a mean?",
)
def sequence_loss_of_the_first(stats):
    return sequence_loss(RouterStats(*(part[:1] for part in stats)))


@mistake(
    "Tokens of one place are taken together, over all sequences. The tokens of one sequence belong together.",
    "Which axis of (batch, seq, n_experts) is summed over for the counts?",
)
def sequence_loss_over_the_other_axis(stats):
    return sequence_loss(RouterStats(*(part.transpose(0, 1) for part in stats)))


@mistake(
    "1 is subtracted. A uniform router should give 1, not 0.",
    "What does the docstring say about a uniform router?",
)
def sequence_loss_less_one(stats):
    return sequence_loss(stats) - 1


@mistake(
    "P is taken over the chosen experts only: the other scores are left out, and the rest is divided by its sum. It is "
    "the mean over all tokens and all experts.",
    "What is P of an expert that no token of the sequence chose?",
)
def sequence_loss_over_the_chosen(stats):
    best = stats.scores.topk(stats.expert_idx.shape[-1], dim=-1).indices
    kept = stats.scores * torch.zeros_like(stats.scores).scatter(-1, best, 1.0)
    return sequence_loss(stats, probability=kept / kept.sum(dim=-1, keepdim=True))


SEQUENCE_BALANCE_LOSS = (
    sequence_loss_over_the_batch,
    sequence_loss_with_the_bias,
    sequence_loss_without_normalising,
    sequence_loss_without_gradient,
    sequence_loss_without_k,
    sequence_loss_of_softmax,
    sequence_loss_normalised_late,
    sequence_loss_summed,
    sequence_loss_of_each,
    sequence_loss_without_e,
    sequence_loss_without_t,
    sequence_loss_with_e_and_k_exchanged,
    sequence_loss_of_the_best,
    sequence_loss_of_the_worst,
    sequence_loss_normalised_over_tokens,
    sequence_loss_of_repair_1,
    sequence_loss_as_before,
    sequence_loss_of_softmax_of_scores,
    sequence_loss_as_a_number,
    sequence_loss_of_weighted_choices,
    sequence_loss_of_the_first,
    sequence_loss_over_the_other_axis,
    sequence_loss_less_one,
    sequence_loss_over_the_chosen,
    *SEQUENCE_PARTS,
)
