"""The known wrong answers to sequence_balance_loss, of notebook 04, with other counts, another P or another factor."""

from lab_utils.course.chapters.ch04_routing.mistakes.sequence_loss import of_each_sequence, sequence_loss
from lab_utils.course.exercise import mistake


@mistake(
    "Every score that is as large as the K-th best is counted: where scores are equal these are more than K.",
    "All scores of a token are 0.5, and K = 2: how many experts does your comparison count?",
)
def sequence_loss_counting_equals(stats):
    least = stats.scores.topk(stats.expert_idx.shape[-1], dim=-1).values[..., -1:]
    hot = (stats.scores >= least).to(stats.scores.dtype)
    return sequence_loss(stats, hot=hot)


@mistake(
    "Every score that is larger than the best of the rest is counted: where scores are equal these are fewer than K.",
    "All scores of a token are 0.5, and K = 2: how many experts does your comparison count?",
)
def sequence_loss_counting_no_equals(stats):
    top_k, n_experts = stats.expert_idx.shape[-1], stats.scores.shape[-1]
    best = stats.scores.topk(min(top_k + 1, n_experts), dim=-1).values[..., -1:]
    return sequence_loss(stats, hot=(stats.scores > best).to(stats.scores.dtype))


@mistake(
    "The scores are divided by the sum of the K best; they should be divided by the sum of all scores of the token.",
    "What do the P_i of one sequence sum to?",
)
def sequence_loss_divided_by_the_best(stats):
    best = stats.scores.topk(stats.expert_idx.shape[-1], dim=-1).values
    return sequence_loss(stats, probability=stats.scores / best.sum(dim=-1, keepdim=True))


@mistake(
    "E and T are exchanged in the factor E/(K·T).",
    "Put all scores to the same value and compute your loss by hand.",
)
def sequence_loss_with_e_and_t_exchanged(stats):
    seq_len, n_experts = stats.scores.shape[-2:]
    return sequence_loss(stats) * (seq_len / n_experts) ** 2


@mistake(
    "The scores are sigmoids of the logits here. The router's own scores, which may be a softmax, are in the stats.",
    "Which field of the stats does the docstring name?",
)
def sequence_loss_of_sigmoids(stats):
    return sequence_loss(stats._replace(scores=stats.logits.sigmoid()))


@mistake(
    "The logits are divided by their sum; the scores should be.",
    "Can a logit be negative? Can a share?",
)
def sequence_loss_of_logits(stats):
    return sequence_loss(stats, probability=stats.logits / stats.logits.sum(dim=-1, keepdim=True))


@mistake(
    "The largest loss of the sequences comes back; the loss of a batch is their mean.",
    "What does the loss of a batch say about all its sequences?",
)
def sequence_loss_of_the_worst_sequence(stats):
    return of_each_sequence(stats).max()


@mistake(
    "The sum that divides the scores carries no gradient.",
    "When the score of one expert rises, what becomes of the shares of the others?",
)
def sequence_loss_divided_by_a_fixed_sum(stats):
    total = stats.scores.sum(dim=-1, keepdim=True).detach()
    return sequence_loss(stats, probability=stats.scores / total)


@mistake(
    "P stands in both places: P² instead of f · P. It looks at the shares twice, and never at what is chosen.",
    "Where does your loss count?",
)
def sequence_loss_of_squares(stats):
    shares = (stats.scores / stats.scores.sum(dim=-1, keepdim=True)).mean(dim=1)
    return stats.scores.shape[-1] * shares.square().sum(dim=-1).mean()


@mistake(
    "Counts and shares are multiplied token by token, and the mean is taken of the products. First comes the mean of "
    "each over the sequence, then their product.",
    "If one token is for expert 0 and another for expert 1, which two numbers of expert 0 should be multiplied?",
)
def sequence_loss_of_products_by_token(stats):
    top_k, n_experts = stats.expert_idx.shape[-1], stats.scores.shape[-1]
    best = stats.scores.topk(top_k, dim=-1).values / stats.scores.sum(dim=-1, keepdim=True)
    return n_experts / top_k * best.sum(dim=-1).mean()


BY_HAND = (
    "Put all scores to the same value, in a batch of two sequences with K = 2, and compute your loss by hand."
)


@mistake("Two slips: the factor K is missing in f, and the losses of the sequences are summed.", BY_HAND)
def sequence_loss_summed_without_k(stats):
    return of_each_sequence(stats).sum() * stats.expert_idx.shape[-1]


@mistake("Two slips: the factor E is missing in f, and the losses of the sequences are summed.", BY_HAND)
def sequence_loss_summed_without_e(stats):
    return of_each_sequence(stats).sum() / stats.scores.shape[-1]


@mistake("Two slips: the factors E and K are both missing in f.", BY_HAND)
def sequence_loss_without_e_and_k(stats):
    return sequence_loss(stats) * stats.expert_idx.shape[-1] / stats.scores.shape[-1]


SEQUENCE_PARTS = (
    sequence_loss_counting_equals,
    sequence_loss_counting_no_equals,
    sequence_loss_divided_by_the_best,
    sequence_loss_with_e_and_t_exchanged,
    sequence_loss_of_sigmoids,
    sequence_loss_of_logits,
    sequence_loss_of_the_worst_sequence,
    sequence_loss_divided_by_a_fixed_sum,
    sequence_loss_of_squares,
    sequence_loss_of_products_by_token,
    sequence_loss_summed_without_k,
    sequence_loss_summed_without_e,
    sequence_loss_without_e_and_k,
)
