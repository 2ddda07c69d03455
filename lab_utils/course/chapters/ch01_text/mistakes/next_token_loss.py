"""The known wrong answers to next_token_loss, of notebook 01."""

import math

import torch.nn.functional as F

from lab_utils.course.exercise import mistake
from nanokimi.loss import next_token_loss as core_loss


@mistake(
    "The targets are shifted once more. They are shifted already: targets[t] follows inputs[t].",
    "Which token should logits[:, 0] predict, and where does it stand in `targets`?",
)
def loss_shifted_again(logits, targets):
    return core_loss(logits[:, :-1], targets[:, 1:])  # of a single token nothing is left: nan


@mistake(
    "It is the sum over the tokens; the docstring asks for the mean.",
    "Give it the same sequence twice. Should the loss double?",
)
def loss_as_sum(logits, targets):
    return core_loss(logits, targets) * targets.numel()


@mistake(
    "It is in bits (base 2); the docstring asks for nats.",
    "What is the loss of an even guess among two tokens: 1, or ln 2?",
)
def loss_in_bits(logits, targets):
    return core_loss(logits, targets) / math.log(2)


@mistake(
    "The logits go through a softmax before the cross-entropy, which takes one itself: it is taken twice.",
    "What does F.cross_entropy expect, logits or probabilities?",
)
def loss_of_two_softmaxes(logits, targets):
    return core_loss(logits.softmax(dim=-1), targets)


@mistake(
    "It is summed over the positions, and the mean is taken over the batch only.",
    "Give it a sequence of twice the length. Should the loss double?",
)
def loss_summed_over_positions(logits, targets):
    return core_loss(logits, targets) * targets.shape[1]


@mistake("The sign is missing: this is the mean log-probability.", "Can a loss be negative here?")
def loss_with_the_wrong_sign(logits, targets):
    return -core_loss(logits, targets)


@mistake(
    "It is the mean probability of the right token, not of its logarithm.",
    "What should come out for a probability of 0?",
)
def loss_of_probabilities(logits, targets):
    p = logits.float().softmax(dim=-1).gather(-1, targets[..., None])
    return 1 - p.mean()


@mistake(
    "The softmax runs over the positions instead of the vocabulary.",
    "Over which axis must the probabilities sum to 1?",
)
def loss_over_positions(logits, targets):
    return F.nll_loss(logits.float().log_softmax(dim=1).flatten(0, 1), targets.flatten())


@mistake(
    "You take the logarithm of a softmax that has become 0: the loss is infinite.",
    "Logits 0 and 200: how probable is the first in float32? Which function takes softmax and log at once?",
)
def loss_of_log_after_softmax(logits, targets):
    return -logits.float().softmax(dim=-1).gather(-1, targets[..., None]).log().mean()


@mistake(
    "You take exponentials of the logits as they are. In float32 exp(89) is infinite, and so is the loss.",
    "Which function computes the logarithm of a sum of exponentials at once, and safely?",
)
def loss_of_bare_exponentials(logits, targets):
    full = logits.float()
    return (full.exp().sum(dim=-1).log() - full.gather(-1, targets[..., None])[..., 0]).mean()


@mistake(
    "The loss is computed in the precision of the logits. bfloat16 keeps 8 significant bits, two or three digits.",
    "In which precision should the logits be read, according to the docstring?",
)
def loss_in_the_precision_of_the_logits(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@mistake(
    "F.cross_entropy expects the classes on the second axis. Here that is the sequence.",
    "Make one long list of all positions first: which shapes do logits and targets then have?",
)
def loss_without_flattening(logits, targets):
    return F.cross_entropy(logits.float(), targets)


@mistake(
    "A small number is added before the logarithm, so that a large loss comes out too small.",
    "Logits 0 and 200: what should the loss be where the first is right? Which function takes softmax and log at once?",
)
def loss_with_a_small_number(logits, targets):
    return _loss_from(1e-9, logits, targets)


@mistake(
    "A small number is added before the logarithm, so that a large loss comes out too small.",
    "Logits 0 and 200: what should the loss be where the first is right? Which function takes softmax and log at once?",
)
def loss_with_a_smaller_number(logits, targets):
    return _loss_from(1e-12, logits, targets)


@mistake(
    "A small number is added before the logarithm, so that a large loss comes out too small.",
    "Logits 0 and 200: what should the loss be where the first is right? Which function takes softmax and log at once?",
)
def loss_with_a_millionth(logits, targets):
    return _loss_from(1e-6, logits, targets)


@mistake(
    "Targets of 0 are left out, as if token 0 were padding. It is a token like any other.",
    "What does `ignore_index` do, and which of your targets is 0?",
)
def loss_ignoring_token_zero(logits, targets):
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=0)


@mistake(
    "`view` fails on what is not in one piece in memory: a slice, as tokens[:, 1:], or what was transposed. flatten "
    "and reshape copy it then.",
    "What does torch say of `view`, and what does it advise?",
)
def loss_by_view(logits, targets):
    return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def _loss_from(eps, logits, targets):
    p = logits.float().softmax(dim=-1).gather(-1, targets[..., None])
    return -(p + eps).log().mean()


OF_THE_MEAN_PROBABILITY = (
    "It is the logarithm of the mean probability. The docstring asks for the mean of the logarithms.",
    "Which comes first in your function, mean or log?",
)


@mistake(*OF_THE_MEAN_PROBABILITY)
def loss_of_the_mean_probability(logits, targets):
    return -logits.float().softmax(dim=-1).gather(-1, targets[..., None]).mean().log()


@mistake(*OF_THE_MEAN_PROBABILITY)
def loss_of_the_mean_probability_that_stays_finite(logits, targets):
    logs = logits.float().log_softmax(dim=-1).gather(-1, targets[..., None])
    return math.log(targets.numel()) - logs.flatten().logsumexp(dim=0)


@mistake(
    "It is minus the logit of the right token: the logits never become probabilities.",
    "What do equal logits give: 0, or ln(vocab)?",
)
def loss_of_the_logit(logits, targets):
    return -logits.float().gather(-1, targets[..., None]).mean()


@mistake(
    "The mean runs over the vocabulary as well: the loss is too small by a factor of vocab.",
    "How many numbers do you take the mean of, and how many of them are losses?",
)
def loss_averaged_over_the_vocabulary(logits, targets):
    return core_loss(logits, targets) / logits.shape[-1]


@mistake(
    "`view` or `reshape` mixes tokens and positions: it never exchanges two axes. transpose does.",
    "Which entry of logits.reshape(batch, vocab, seq) is the logit of token 1 at position 0?",
)
def loss_of_reshaped_logits(logits, targets):
    batch, seq, vocab = logits.shape
    return F.cross_entropy(logits.float().reshape(batch, vocab, seq), targets)


@mistake(
    "The loss is computed in the precision of the logits, and made float32 afterwards: the digits are lost by then.",
    "At which place in your function do the logits become float32?",
)
def loss_widened_too_late(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).float()


@mistake("Each position has its loss. The docstring asks for their mean.", "Which shape has a scalar?")
def loss_of_each_position(logits, targets):
    return F.cross_entropy(logits.float().mT, targets, reduction="none")


@mistake(
    "It is detached, or computed under no_grad: no gradient goes back to the logits.",
    "What would `loss.backward()` do with it?",
)
def loss_without_a_gradient(logits, targets):
    return core_loss(logits, targets).detach()


@mistake(
    "The target is given 0.9 of the probability, and all tokens together the rest: that is label smoothing. The "
    "docstring asks for plain cross-entropy.",
    "Which arguments has your call of cross_entropy, and what does each of them do?",
)
def loss_with_smoothed_labels(logits, targets):
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), label_smoothing=0.1)


@mistake(
    "It is the perplexity, the exponential of the loss. The docstring asks for nats.",
    "What should come out for two tokens with equal logits: 2, or ln 2?",
)
def loss_as_perplexity(logits, targets):
    return core_loss(logits, targets).exp()


@mistake("Only the last position counts.", "How many targets does a sequence have?")
def loss_of_the_last_position(logits, targets):
    return core_loss(logits[:, -1:], targets[:, -1:])


@mistake(
    "The last position is left out. It has a target as well: the targets are shifted already.",
    "How many targets does a sequence of one token have, and how many does your function use?",
)
def loss_without_the_last_position(logits, targets):
    return core_loss(logits[:, :-1], targets[:, :-1])


@mistake(
    "It is divided by the length of a sequence, and added up over the batch.", "How many losses are added?"
)
def loss_per_position(logits, targets):
    return core_loss(logits, targets) * len(targets)


@mistake(
    "The logarithms are computed in the precision of the logits, and made float32 afterwards: the digits are lost "
    "by then.",
    "At which place in your function do the logits become float32?",
)
def loss_widened_after_the_logarithm(logits, targets):
    return -logits.log_softmax(dim=-1).gather(-1, targets[..., None]).float().mean()


NEXT_TOKEN_LOSS = (
    loss_shifted_again,
    loss_as_sum,
    loss_summed_over_positions,
    loss_in_bits,
    loss_of_two_softmaxes,
    loss_with_the_wrong_sign,
    loss_of_probabilities,
    loss_over_positions,
    loss_of_log_after_softmax,
    loss_of_bare_exponentials,
    loss_in_the_precision_of_the_logits,
    loss_without_flattening,
    loss_with_a_small_number,
    loss_with_a_smaller_number,
    loss_with_a_millionth,
    loss_ignoring_token_zero,
    loss_by_view,
    loss_of_the_mean_probability,
    loss_of_the_mean_probability_that_stays_finite,
    loss_of_the_logit,
    loss_averaged_over_the_vocabulary,
    loss_of_reshaped_logits,
    loss_widened_too_late,
    loss_of_each_position,
    loss_without_a_gradient,
    loss_with_smoothed_labels,
    loss_as_perplexity,
    loss_of_the_last_position,
    loss_without_the_last_position,
    loss_per_position,
    loss_widened_after_the_logarithm,
)
