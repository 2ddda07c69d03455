"""The known wrong answers to next_token_probs, of notebook 10: top-k and top-p cut otherwise."""

import itertools

import torch

from lab_utils.course.exercise import mistake
from nanokimi.generate import next_token_probs as core_probs


def cut(logits, temperature, top_k, top_p, stays):
    """Top-k as it should be; then of the ordered probabilities those stay for which `stays(ordered, top_p)` says so."""
    probs = core_probs(logits, temperature, top_k)
    if temperature == 0 or top_p is None or top_p == 1:
        return probs
    ordered, ids = probs.sort(descending=True, stable=True)
    kept = ordered * stays(ordered, top_p)
    return torch.zeros_like(ordered).scatter(0, ids, kept / kept.sum())


# ---------------------------------------------------------------- top-k


@mistake("`top_k` makes no difference to the distribution.", "Follow the argument `top_k` through your code.")
def probs_without_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    core_probs(logits, temperature, top_k)
    return core_probs(logits, temperature, None, top_p)


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
    "Two things: top-k keeps every token that ties with the k-th; and a top_k above the number of tokens raises an "
    "error, where all tokens should stay.",
    "Four equal logits and top_k=2: how many tokens may be left? Then try top_k=9.",
)
def probs_keeping_all_ties_of_few(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None and temperature > 0:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return core_probs(logits, temperature, None, top_p)


@mistake(
    "A top_k above the number of tokens raises an error. All tokens should stay.",
    "What does topk do when there are fewer than k? min(top_k, len(logits)) is never too large.",
)
def probs_with_too_large_a_k(logits, temperature=1.0, top_k=None, top_p=None):
    if top_k is not None and temperature > 0:
        logits.topk(top_k)
    return core_probs(logits, temperature, top_k, top_p)


@mistake(
    "At a tie top-k does not keep the lower ids. torch.topk promises no order among equals; a stable sort does.",
    "Four equal logits and top_k=2: which two tokens does the docstring ask for?",
)
def probs_keeping_the_higher_ids(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None:
        return core_probs(logits, temperature, top_k, top_p)
    return core_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


@mistake(
    "Of equal probabilities the higher ids stay, at every place. The docstring asks for the lower ones.",
    "Two logits are equal, and one of them may stay: which does your code keep, and which does the docstring ask for?",
)
def probs_keeping_the_higher_ids_everywhere(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


@mistake(
    "Of equal probabilities the higher ids stay in both cuts. The docstring asks for the lower ones.",
    "Two logits are equal, and one of them may stay: which does your code keep, and which does the docstring ask for?",
)
def probs_keeping_the_higher_ids_in_cuts(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, temperature)
    return core_probs(logits.flip(0), temperature, top_k, top_p).flip(0)


@mistake("Top-k keeps the k least likely tokens.", "In which direction do you sort?")
def probs_of_the_unlikeliest(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0 or top_k is None:
        return core_probs(logits, temperature, top_k, top_p)
    probs = core_probs(logits, temperature)
    probs[probs.argsort(stable=True)[top_k:]] = 0
    return core_probs(probs.log(), 1.0, None, top_p)


@mistake("Top-k keeps k - 1 tokens.", "How many tokens are left for top_k=2?")
def probs_of_one_too_few(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k and max(1, top_k - 1), top_p)


@mistake("Top-k keeps k + 1 tokens.", "How many tokens are left for top_k=1?")
def probs_of_one_too_many(logits, temperature=1.0, top_k=None, top_p=None):
    core_probs(logits, temperature, top_k)
    return core_probs(logits, temperature, top_k and top_k + 1, top_p)


# ---------------------------------------------------------------- top-p


@mistake("`top_p` makes no difference to the distribution.", "Follow the argument `top_p` through your code.")
def probs_without_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    core_probs(logits, 1.0, None, top_p)
    return core_probs(logits, temperature, top_k)


@mistake(
    "The token that brings the sum to p is dropped. It belongs to the nucleus: the kept tokens must reach p.",
    "Probabilities 0.4, 0.4, 0.2 and p = 0.5: what is left with your rule, and does it reach p?",
)
def probs_stopping_before_p(logits, temperature=1.0, top_k=None, top_p=None):
    def stays(ordered, p):
        inside = ordered.cumsum(dim=-1) <= p
        inside[0] = True
        return inside

    return cut(logits, temperature, top_k, top_p, stays=stays)


@mistake(
    "The token that brings the sum to p is dropped, also where it is the first. Then nothing is left: 0 / 0 is nan.",
    "One token of probability 0.9 and p = 0.5: what is left with your rule?",
)
def probs_that_may_keep_nothing(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered.cumsum(dim=-1) <= p)


@mistake(
    "The token that brings the sum to p is dropped, also where the sum is exactly p: then nothing may be left.",
    "Two tokens of probability 0.5 and p = 0.5: what is left with your rule?",
)
def probs_that_keep_less_than_p(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered.cumsum(dim=-1) < p)


@mistake(
    "Where the sum is exactly p, one token more is kept than needed. The nucleus is the fewest tokens that reach p.",
    "Two tokens of probability 0.5 and p = 0.5: does the first one reach p?",
)
def probs_going_on_at_p(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(
        logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered.cumsum(dim=-1) - ordered <= p
    )


@mistake(
    "Top-p keeps every token that ties with the last one of the nucleus. Of equal probabilities the lower ids stay, as "
    "many as it takes to reach p.",
    "Four equal logits and p = 0.6: how many tokens does it take to reach p?",
)
def probs_keeping_all_ties_of_the_nucleus(logits, temperature=1.0, top_k=None, top_p=None):
    def stays(ordered, p):
        return ordered >= ordered[min(int((ordered.cumsum(dim=-1) < p).sum()), len(ordered) - 1)]

    return cut(logits, temperature, top_k, top_p, stays=stays)


@mistake(
    "Top-p keeps two tokens at least. One is enough where it reaches p alone.",
    "One token of probability 0.9 and p = 0.5: how many are left with your rule?",
)
def probs_of_two_at_least(logits, temperature=1.0, top_k=None, top_p=None):
    def stays(ordered, p):
        return (ordered.cumsum(dim=-1) - ordered < p) | (torch.arange(len(ordered)) < 2)

    return cut(logits, temperature, top_k, top_p, stays=stays)


@mistake(
    "Each token is compared with p by itself. Top-p adds the probabilities up, from the likeliest on.",
    "Ten tokens of probability 0.1 each and p = 0.5: how many should stay?",
)
def probs_above_a_threshold(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered >= p)


@mistake(
    "Each token is compared with a share p of the likeliest one. That is min-p, another rule: top-p adds the "
    "probabilities up, from the likeliest on.",
    "Two tokens of probability 0.5 and p = 0.5: how many does it take to reach p?",
)
def probs_of_min_p_itself(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered >= p * ordered.max())


@mistake(
    "Each token is compared with a share of the likeliest one, 1 - p. That is min-p, another rule: top-p adds the "
    "probabilities up, from the likeliest on.",
    "Two tokens of probability 0.5 and p = 0.5: how many does it take to reach p?",
)
def probs_of_min_p(logits, temperature=1.0, top_k=None, top_p=None):
    return cut(logits, temperature, top_k, top_p, stays=lambda ordered, p: ordered >= (1 - p) * ordered.max())


@mistake(
    "Each token is compared with 1 - p by itself. Top-p adds the probabilities up, from the likeliest on.",
    "Two tokens of probability 0.5 and p = 0.5: how many does it take to reach p?",
)
def probs_above_the_rest_of_p(logits, temperature=1.0, top_k=None, top_p=None):
    def stays(ordered, p):
        inside = ordered >= 1 - p
        inside[0] = True
        return inside

    return cut(logits, temperature, top_k, top_p, stays=stays)


@mistake(
    "One token more is kept than needed. The nucleus is the fewest tokens that reach p.",
    "Two tokens of probability 0.5 and p = 0.5: how many does it take to reach p?",
)
def probs_of_one_more_than_p(logits, temperature=1.0, top_k=None, top_p=None):
    def stays(ordered, p):
        return torch.arange(len(ordered)) < (ordered.cumsum(dim=-1) < p).sum() + 2

    return cut(logits, temperature, top_k, top_p, stays=stays)


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
    "Top-p is measured in shares of all tokens, so the nucleus is too large: top-p comes before top-k, or what top-k "
    "left is not divided by its sum.",
    "After top-k the rest is a distribution of its own. Of what sum is p a share?",
)
def probs_with_top_p_before_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return core_probs(logits, 0.0)
    return core_probs(core_probs(logits, temperature, None, top_p).log(), 1.0, top_k)


@mistake(
    "With top_p, top_k makes no difference: only one of the two cuts. They follow each other.",
    "Is there an `elif` or an early `return` between them?",
)
def probs_of_top_p_alone(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k if top_p is None else None, top_p)


@mistake(
    "With top_k, top_p makes no difference: only one of the two cuts. They follow each other.",
    "Is there an `elif` or an early `return` between them?",
)
def probs_of_top_k_alone(logits, temperature=1.0, top_k=None, top_p=None):
    return core_probs(logits, temperature, top_k, top_p if top_k is None else None)


CUTS = (
    probs_without_top_k,
    probs_keeping_all_ties,
    probs_keeping_all_ties_of_few,
    probs_with_too_large_a_k,
    probs_keeping_the_higher_ids,
    probs_keeping_the_higher_ids_everywhere,
    probs_keeping_the_higher_ids_in_cuts,
    probs_of_the_unlikeliest,
    probs_of_one_too_few,
    probs_of_one_too_many,
    probs_without_top_p,
    probs_stopping_before_p,
    probs_that_may_keep_nothing,
    probs_that_keep_less_than_p,
    probs_going_on_at_p,
    probs_keeping_all_ties_of_the_nucleus,
    probs_of_two_at_least,
    probs_of_min_p_itself,
    probs_above_a_threshold,
    probs_of_min_p,
    probs_above_the_rest_of_p,
    probs_of_one_more_than_p,
    probs_cutting_at_one,
    probs_with_top_p_before_top_k,
    probs_of_top_p_alone,
    probs_of_top_k_alone,
)
