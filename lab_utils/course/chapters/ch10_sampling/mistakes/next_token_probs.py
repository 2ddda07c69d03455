"""The known wrong answers to next_token_probs, of notebook 10."""

import itertools

import torch

from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


@mistake(
    "The logits are multiplied by the temperature; they have to be divided by it.",
    "A high temperature should make the distribution flatter. Try temperature 2 on logits [2, 0].",
)
def probs_multiplying_by_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits if temperature == 0 else logits * temperature**2, temperature, top_k, top_p)


@mistake(
    "The temperature comes after top-p: the nucleus is chosen from the distribution at temperature 1.",
    "At temperature 2 the distribution is flatter. Should the nucleus of p = 0.7 then hold more tokens, or as many?",
)
def probs_with_temperature_last(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    kept = core_probs(logits, 1.0, top_k, top_p)
    return (kept.log() / temperature).softmax(dim=-1)


@mistake(
    "Top-k keeps every token that ties with the k-th: more than k tokens are left.",
    "Four equal logits and top_k=2: how many tokens may have a probability above 0?",
)
def probs_keeping_all_ties(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None and temperature > 0:
        smallest = logits.topk(min(top_k, len(logits))).values[-1]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    return core_probs(logits, temperature, None, top_p)


@mistake(
    "What is left after top-k or top-p is not normalised again: the probabilities sum to less than 1.",
    "Add up what your function returns for top_k=1.",
)
def probs_that_do_not_sum_to_one(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    kept = core_probs(logits, temperature, top_k, top_p) > 0
    return (logits.float() / temperature).softmax(dim=-1) * kept


@mistake(
    "The token that brings the sum to p is dropped. It belongs to the nucleus: the kept tokens must reach p.",
    "One token of probability 0.9 and p = 0.5: what is left with your rule?",
)
def probs_stopping_before_p(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_p is None or top_p == 1:
        return core_probs(logits, temperature, top_k)
    ordered, ids = core_probs(logits, temperature, top_k).sort(descending=True, stable=True)
    stays = ordered.cumsum(dim=-1) <= top_p
    stays[0] = True
    ordered = ordered * stays
    return torch.zeros_like(ordered).scatter(0, ids, ordered / ordered.sum())


@mistake(
    "The probabilities are in the order of their size, no longer in the order of the tokens.",
    "Entry i must be the probability of token i.",
)
def probs_left_sorted(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k, top_p).sort(descending=True).values


@mistake(
    "Temperature 0 is treated as 1. It means greedy: all probability is on the likeliest token.",
    "What does the docstring say about temperature 0?",
)
def probs_with_zero_as_one(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature or 1.0, top_k, top_p)


@mistake(
    "Top-p is measured before top-k has cut: the nucleus is too large.",
    "After top-k the rest is a distribution of its own. Of what sum is p a share?",
)
def probs_with_top_p_before_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    return core_probs(core_probs(logits, temperature, None, top_p).log(), 1.0, top_k)


@mistake(
    "At a tie top-k does not keep the lower ids. torch.topk promises no order among equals; a stable sort does.",
    "Four equal logits and top_k=2: which two tokens does the docstring ask for?",
)
def probs_keeping_the_higher_ids(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


@mistake(
    "With top_p=1 unlikely tokens are lost: added up in floating point, the likely ones reach 1 before the end.",
    "How many of sixty tokens should top_p=1 leave, and what is the sum of the first fifty?",
)
def probs_cutting_at_one(logits, temperature=1.0, top_k=None, top_p=None):
    probs = core_probs(logits, temperature, top_k, top_p)
    if top_p != 1:
        return probs
    ordered, ids = probs.sort(descending=True, stable=True)
    reached = torch.tensor(list(itertools.accumulate(ordered.tolist())), dtype=torch.float64)
    ordered[int((reached < 1).sum()) + 1 :] = 0
    return torch.zeros_like(probs).scatter(0, ids, ordered)


@mistake(
    "The logits are divided by the temperature in their own format. In bfloat16 that rounds them to three digits.",
    "At which place in your function do the logits become float32?",
)
def probs_dividing_in_bfloat16(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature <= 0:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits / temperature, 1.0, top_k, top_p)


NEXT_TOKEN_PROBS = (
    probs_multiplying_by_temperature,
    probs_with_temperature_last,
    probs_keeping_all_ties,
    probs_that_do_not_sum_to_one,
    probs_stopping_before_p,
    probs_left_sorted,
    probs_with_zero_as_one,
    probs_with_top_p_before_top_k,
    probs_keeping_the_higher_ids,
    probs_cutting_at_one,
    probs_dividing_in_bfloat16,
)
