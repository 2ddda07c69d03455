"""The known wrong answers to next_token_probs, of notebook 10."""

import torch

from lab_utils.course.chapters.ch10_sampling.mistakes.probs_cuts import CUTS
from lab_utils.course.chapters.ch10_sampling.mistakes.refusals import REFUSALS
from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs

# ---------------------------------------------------------------- temperature


@mistake(
    "The logits are multiplied by the temperature; they have to be divided by it.",
    "A high temperature should make the distribution flatter. Try temperature 2 on logits [2, 0].",
)
def probs_multiplying_by_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits if temperature == 0 else logits * temperature**2, temperature, top_k, top_p)


@mistake(
    "The temperature changes nothing, unless it is 0.", "Follow the argument `temperature` through your code."
)
def probs_without_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature and 1.0, top_k, top_p)


@mistake(
    "The temperature comes after top-p: the nucleus is chosen from the distribution at temperature 1.",
    "At temperature 2 the distribution is flatter. Should the nucleus of p = 0.7 then hold more tokens, or as many?",
)
def probs_with_temperature_last(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature)
    kept = core_probs(logits, 1.0, top_k, top_p)
    return (kept.log() / temperature).softmax(dim=-1)


@mistake(
    "With top_k the temperature makes no difference. It divides the logits whatever is cut.",
    "Which logits does your function cut to k, those before the temperature or those after it?",
)
def probs_without_temperature_at_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature if top_k is None else temperature and 1.0, top_k, top_p)


@mistake(
    "Temperature 0 is treated as 1. It means greedy: all probability is on the likeliest token.",
    "What does the docstring say about temperature 0?",
)
def probs_with_zero_as_one(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature or 1.0, top_k, top_p)


@mistake(
    "At temperature 0 the probability is shared among tokens that tie. It belongs to one of them, the lowest id.",
    "Which token does argmax choose among equals? And what does a very small temperature do with them?",
)
def probs_sharing_at_zero(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature != 0:
        return core_probs(logits, temperature, top_k, top_p)
    likeliest = (logits == logits.max()).float()
    return likeliest / likeliest.sum()


@mistake(
    "At temperature 0 among tokens that tie the highest id is taken. Of equal probabilities the lower ids stay.",
    "Which of two equal tokens comes last when you sort upwards?",
)
def probs_with_the_last_at_zero(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature != 0:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits.flip(0), 0.0).flip(0)


@mistake(
    "The logits are divided by a temperature of 0: nothing but nan comes out.",
    "What is 0 / 0? Treat 0 first.",
)
def probs_dividing_by_zero(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature != 0:
        return core_probs(logits, temperature, top_k, top_p)
    return (logits.float() / 0).softmax(dim=-1)


@mistake(
    "At temperature 0 it returns the id of the likeliest token. A distribution is asked for: 1 at that entry.",
    "What shape does the result have at any other temperature?",
)
def probs_of_an_id_at_zero(logits, temperature=1.0, top_k=None, top_p=None):
    return logits.argmax() if temperature == 0 else core_probs(logits, temperature, top_k, top_p)


# ---------------------------------------------------------------- what comes back


@mistake(
    "What is left after top-k or top-p is not normalised again: the probabilities sum to less than 1.",
    "Add up what your function returns for top_k=1.",
)
def probs_that_do_not_sum_to_one(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature)
    kept = core_probs(logits, temperature, top_k, top_p) > 0
    return (logits.float() / temperature).softmax(dim=-1) * kept


@mistake(
    "Nothing is normalised again after a cut: top-p adds up what top-k has left, and that is less than 1. So is the "
    "result.",
    "Add up what your function returns for top_k=1.",
)
def probs_never_normalised_again(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature)
    whole = (logits.float() / temperature).softmax(dim=-1)
    left = whole * (core_probs(logits, temperature, top_k) > 0)
    if top_p is None or top_p == 1:
        return left
    ordered, ids = left.sort(descending=True, stable=True)
    ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0
    return torch.zeros_like(ordered).scatter(0, ids, ordered)


@mistake(
    "After top-p the rest is not normalised again: the probabilities sum to less than 1.",
    "Add up what your function returns for top_p=0.5.",
)
def probs_not_normalised_after_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k) * (core_probs(logits, temperature, top_k, top_p) > 0)


@mistake(
    "The probabilities are in the order of their size, no longer in the order of the tokens.",
    "Entry i must be the probability of token i.",
)
def probs_left_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k, top_p).sort(descending=True).values


@mistake(
    "After a cut the probabilities are in the order of their size, no longer in the order of the tokens.",
    "Entry i must be the probability of token i.",
)
def probs_left_sorted_by_a_cut(logits, temperature=1.0, top_k=None, top_p=None):
    probs = core_probs(logits, temperature, top_k, top_p)
    cuts = temperature != 0 and (top_k is not None or top_p is not None)
    return probs.sort(descending=True).values if cuts else probs


@mistake(
    "After top-p the probabilities are in the order of their size, no longer in the order of the tokens.",
    "Entry i must be the probability of token i.",
)
def probs_left_sorted_by_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    probs = core_probs(logits, temperature, top_k, top_p)
    return probs.sort(descending=True).values if temperature != 0 and top_p not in (None, 1.0) else probs


@mistake("It returns logarithms of probabilities.", "What must the result sum to?")
def probs_as_logarithms(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k, top_p).log()


@mistake(
    "The logits are divided by the temperature in their own format. In bfloat16 that leaves them two or three digits.",
    "At which place in your function do the logits become float32?",
)
def probs_dividing_in_bfloat16(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits / temperature, 1.0, top_k, top_p)


@mistake(
    "Everything is computed in the format of the logits. In bfloat16 that rounds, and so is the result.",
    "At which place in your function do the logits become float32?",
)
def probs_in_bfloat16(logits, temperature=1.0, top_k=None, top_p=None):
    if logits.dtype == torch.float32 or temperature <= 0:
        return core_probs(logits, temperature, top_k, top_p)
    ordered, ids = (logits / temperature).softmax(dim=-1).sort(descending=True, stable=True)
    if top_p is not None:
        ordered[ordered.cumsum(dim=-1) - ordered >= top_p] = 0
    return torch.zeros_like(ordered).scatter(0, ids, ordered / ordered.sum())


NEXT_TOKEN_PROBS = (
    probs_multiplying_by_temperature,
    probs_without_temperature,
    probs_with_temperature_last,
    probs_without_temperature_at_top_k,
    probs_with_zero_as_one,
    probs_sharing_at_zero,
    probs_with_the_last_at_zero,
    probs_dividing_by_zero,
    probs_of_an_id_at_zero,
    *CUTS,
    probs_that_do_not_sum_to_one,
    probs_never_normalised_again,
    probs_not_normalised_after_top_p,
    probs_left_sorted,
    probs_left_sorted_by_a_cut,
    probs_left_sorted_by_top_p,
    probs_as_logarithms,
    probs_dividing_in_bfloat16,
    probs_in_bfloat16,
    *REFUSALS,
)
