"""The known wrong answers to whole_gradient, of notebook 11."""

import torch

from lab_utils.course.exercise import mistake


@mistake(
    "It is the plain mean over the ranks: a rank with one token counts as much as a rank with thousands.",
    "Two ranks have one and three tokens. How much of the whole mean is each of them?",
)
def gradient_as_a_plain_mean(gradients, n_tokens):
    return gradients.mean(dim=0)


@mistake(
    "It is the plain mean over the ranks that have tokens: one with one token counts as much as one with thousands.",
    "Two ranks have one and three tokens. How much of the whole mean is each of them?",
)
def gradient_as_a_mean_of_ranks_with_tokens(gradients, n_tokens):
    return gradients[n_tokens > 0].mean(dim=0)


@mistake(
    "The gradients are added. Each is that of a mean over its tokens, so their sum is about n times too large.",
    "Two ranks have the same gradient and as many tokens. What is the gradient of the whole?",
)
def gradient_as_a_plain_sum(gradients, n_tokens):
    return gradients.sum(dim=0)


@mistake(
    "It is the gradient of the sum over all tokens; asked for is that of the mean.",
    "By what is the weighted sum to be divided?",
)
def gradient_of_the_sum(gradients, n_tokens):
    return n_tokens.to(gradients.dtype) @ gradients


@mistake(
    "The weighted sum is divided by the number of ranks, not by the number of tokens.",
    "What do the shares of the ranks sum to?",
)
def gradient_by_the_number_of_ranks(gradients, n_tokens):
    return n_tokens.to(gradients.dtype) @ gradients / len(gradients)


@mistake(
    "The weights are the wrong way round: a rank counts more the fewer tokens it has.",
    "A rank has all tokens but one. How near should the result be to its gradient?",
)
def gradient_by_inverse_shares(gradients, n_tokens):
    inverse = 1 / n_tokens.clamp(min=1).to(gradients.dtype)
    return inverse / inverse.sum() @ gradients


@mistake(
    "It is the gradient of the rank with the most tokens alone.",
    "Which of the gradients does the result depend on?",
)
def gradient_of_the_largest(gradients, n_tokens):
    return gradients[int(n_tokens.argmax())]


@mistake(
    "It is the gradient of rank 0 alone: nothing was exchanged.",
    "Which of the gradients does the result depend on?",
)
def gradient_of_rank_0(gradients, n_tokens):
    return gradients[0]


@mistake(
    "The axes are mixed up: a number comes back for every rank, not for every weight.",
    "How many numbers does the gradient of the whole have?",
)
def gradient_along_the_wrong_axis(gradients, n_tokens):
    return (gradients * (n_tokens / n_tokens.sum())[:, None]).sum(dim=1)


@mistake(
    "The shares are whole numbers: the division has rounded them down.",
    "What is 1 // 4, and what is 1 / 4?",
)
def gradient_by_whole_shares(gradients, n_tokens):
    return (n_tokens // n_tokens.sum()).to(gradients.dtype) @ gradients


@mistake(
    "The shares are a softmax of the counts. A share is a count divided by the sum of the counts.",
    "Two ranks have one and three tokens. What is the share of each?",
)
def gradient_by_softmax(gradients, n_tokens):
    return n_tokens.to(gradients.dtype).softmax(dim=0) @ gradients


@mistake(
    "The shares are taken of the largest count, not of the sum: they do not sum to 1.",
    "Two ranks have as many tokens. What is the share of each?",
)
def gradient_by_the_largest_count(gradients, n_tokens):
    return (n_tokens / n_tokens.max()).to(gradients.dtype) @ gradients


@mistake(
    "Each gradient is divided by its number of tokens once more. It is that of a mean already.",
    "Two ranks have the same gradient and five tokens each. What is the gradient of the whole?",
)
def gradient_divided_twice(gradients, n_tokens):
    return (gradients / n_tokens.clamp(min=1)[:, None]).mean(dim=0)


@mistake(
    "Each gradient is divided by its number of tokens, and they are added. It is that of a mean already.",
    "Two ranks have the same gradient and five tokens each. What is the gradient of the whole?",
)
def gradient_divided_and_added(gradients, n_tokens):
    return (gradients / n_tokens.clamp(min=1)[:, None]).sum(dim=0)


@mistake(
    "The parts of the ranks come back, weighted, but nobody adds them.",
    "How many numbers does the gradient of the whole have?",
)
def gradient_not_added(gradients, n_tokens):
    return torch.einsum("rn,r->rn", gradients, (n_tokens / n_tokens.sum()).to(gradients.dtype))


WHOLE_GRADIENT = (
    gradient_as_a_plain_mean,
    gradient_as_a_mean_of_ranks_with_tokens,
    gradient_as_a_plain_sum,
    gradient_of_the_sum,
    gradient_by_the_number_of_ranks,
    gradient_by_inverse_shares,
    gradient_of_the_largest,
    gradient_of_rank_0,
    gradient_along_the_wrong_axis,
    gradient_by_whole_shares,
    gradient_by_softmax,
    gradient_by_the_largest_count,
    gradient_divided_twice,
    gradient_divided_and_added,
    gradient_not_added,
)
