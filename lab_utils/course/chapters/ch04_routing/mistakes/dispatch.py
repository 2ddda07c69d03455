"""The known wrong answers to dispatch, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.dispatch_pairs import PAIRS
from lab_utils.course.exercise import mistake
from nanokimi.moe import dispatch as core_dispatch


@mistake(
    "The rows come back in the order of the experts, not of the tokens: every token gets the result of another.",
    "After the experts have run, where is the row of token 0?",
)
def dispatch_without_going_back(x, expert_idx, weights, bank):
    top_k = expert_idx.shape[1]
    order = expert_idx.flatten().argsort(stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x[order // top_k], counts)
    return (rows.unflatten(0, (-1, top_k)) * weights[..., None]).sum(dim=1)


@mistake(
    "The weights are not used: the chosen experts are simply added.",
    "Which of the arguments makes no difference in your function?",
)
def dispatch_without_weights(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, torch.ones_like(weights), bank)


@mistake(
    "Only the first choice of each token runs.",
    "How many experts does a token have for K = 2?",
)
def dispatch_of_the_first_choice(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx[:, :1].contiguous(), weights[:, :1].contiguous(), bank)


@mistake(
    "The weight is multiplied in before the expert. An expert is not linear: that is another function.",
    "Is expert(w·x) the same as w·expert(x)?",
)
def dispatch_weighting_the_input(x, expert_idx, weights, bank):
    ones = torch.ones_like(weights[:, :1])
    return sum(
        core_dispatch(x * weights[:, k, None], expert_idx[:, k : k + 1], ones, bank)
        for k in range(expert_idx.shape[1])
    )


@mistake(
    "The choices are averaged: there is a division by K too many.",
    "By what does the docstring divide the sum over k?",
)
def dispatch_averaging(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights, bank) / expert_idx.shape[1]


@mistake(
    "The way back applies `order` a second time. It says which pair each row came from; you need where each pair went.",
    "If order is [1, 2, 0], the row of pair 0 is at place 2. Which list has 2 at its first place?",
)
def dispatch_ordering_twice(x, expert_idx, weights, bank):
    top_k = expert_idx.shape[1]
    order = expert_idx.flatten().argsort(stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x[order // top_k], counts)[order]
    return (rows.unflatten(0, (-1, top_k)) * weights[..., None]).sum(dim=1)


@mistake(
    "The counts end at the last expert that was chosen; the bank needs a count for each of its experts.",
    "Six experts, and nobody chose the last: how many counts do you pass? What adds the missing zeros?",
)
def dispatch_without_the_idle(x, expert_idx, weights, bank):
    top_k = expert_idx.shape[1]
    order = expert_idx.flatten().argsort(stable=True)
    rows = bank(x[order // top_k], torch.bincount(expert_idx.flatten()).tolist())
    back = rows[order.argsort()].unflatten(0, (-1, top_k))
    return (back * weights[..., None]).sum(dim=1)


@mistake(
    "Every expert runs on every token: E/K times the work that is needed.",
    "How many rows does your function give to the bank in all? There are tokens · K pairs.",
)
def dispatch_to_everybody(x, expert_idx, weights, bank):
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        weight = (weights * (expert_idx == e)).sum(dim=-1, keepdim=True)
        y = y + weight * bank(x, [len(x) if i == e else 0 for i in range(n_experts)])
    return y


def sorted_rows(x, expert_idx, bank, token_of):
    """The order of the pairs by expert, the token of each, and what the experts make of them."""
    order = expert_idx.flatten().argsort(stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    token = token_of(order)
    return order, token, bank(x[token], counts)


@mistake(
    "Pair i belongs to token i // K. Yours takes i modulo the number of tokens.",
    "Three tokens, K = 2: which token does pair 1 belong to?",
)
def dispatch_with_tokens_by_modulo(x, expert_idx, weights, bank):
    order, token, rows = sorted_rows(x, expert_idx, bank, lambda order: order % len(x))
    return torch.zeros_like(x).index_add(0, token, rows * weights.flatten()[order, None])


@mistake(
    "Pair i belongs to token i // K. Yours takes i modulo K, which says the how-manieth choice it is.",
    "Three tokens, K = 2: which token does pair 4 belong to?",
)
def dispatch_with_choices_for_tokens(x, expert_idx, weights, bank):
    order, token, rows = sorted_rows(x, expert_idx, bank, lambda order: order % expert_idx.shape[1])
    return torch.zeros_like(x).index_add(0, token, rows * weights.flatten()[order, None])


@mistake(
    "Each token keeps one of its K results: an assignment to y[token] writes over the others, and so does "
    "y[token] += where a token stands in the list twice.",
    "Which function of torch adds rows to places that may come up twice?",
)
def dispatch_keeping_the_last(x, expert_idx, weights, bank):
    order, token, rows = sorted_rows(x, expert_idx, bank, lambda order: order // expert_idx.shape[1])
    y = torch.zeros_like(x)
    y[token] = rows * weights.flatten()[order, None]
    return y


@mistake(
    "The rows go to the bank in the order of the tokens; it takes them sorted by expert.",
    "Which rows does expert 0 get from the bank, and which should it get?",
)
def dispatch_without_sorting(x, expert_idx, weights, bank):
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x.repeat_interleave(expert_idx.shape[1], dim=0), counts)
    return (rows.unflatten(0, expert_idx.shape) * weights[..., None]).sum(dim=1)


@mistake(
    "The pairs are sorted from the last expert to the first; the bank begins with expert 0.",
    "Which rows does expert 0 get from the bank, and which should it get?",
)
def dispatch_sorting_downwards(x, expert_idx, weights, bank):
    order = expert_idx.flatten().argsort(descending=True, stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    token = order // expert_idx.shape[1]
    rows = bank(x[token], counts) * weights.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, token, rows)


@mistake(
    "x is added to the result. The residual is the block's task.",
    "What should come back when all weights are 0?",
)
def dispatch_with_a_residual(x, expert_idx, weights, bank):
    return x + core_dispatch(x, expert_idx, weights, bank)


@mistake(
    "The weights of a token are divided by their sum here. The router has done what was asked for.",
    "What should come back when all weights are doubled?",
)
def dispatch_normalising_again(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights / weights.sum(dim=-1, keepdim=True), bank)


@mistake(
    "The weights go through a softmax here. The router has done what was asked for.",
    "What should come back when all weights are doubled?",
)
def dispatch_with_softmax_of_the_weights(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights.softmax(dim=-1), bank)


@mistake(
    "No gradient reaches the weights: the router would never learn.",
    "Is there a `detach`, an `item` or a `tolist` around the weights?",
)
def dispatch_with_fixed_weights(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights.detach(), bank)


@mistake(
    "Some tokens are left out: an expert takes no more than a fair share, E experts for tokens · K pairs.",
    "What happens in your function when all tokens choose the same expert?",
)
def dispatch_with_little_room(x, expert_idx, weights, bank):
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    room = max(1, expert_idx.numel() // n_experts)
    for e in range(n_experts):
        token, slot = (expert_idx == e).nonzero()[:room].unbind(dim=1)
        rows = bank(x[token], [len(token) if i == e else 0 for i in range(n_experts)])
        y = y.index_add(0, token, weights[token, slot, None] * rows)
    return y


@mistake(
    "The first weight of each token is used for all its experts.",
    "Which weight belongs to the second choice of a token?",
)
def dispatch_with_the_first_weight(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights[:, :1].expand_as(weights).contiguous(), bank)


@mistake(
    "Only the last choice of each token counts: in your loop over the choices the result is set, not added to.",
    "What is left of the first choice after the second round?",
)
def dispatch_of_the_last_choice(x, expert_idx, weights, bank):
    k = expert_idx.shape[1]
    ones = torch.zeros_like(weights)
    ones[:, k - 1] = 1
    return core_dispatch(x, expert_idx, weights * ones, bank)


@mistake(
    "No gradient goes back to the tokens: what comes before would never learn.",
    "Is there a `detach` or a `no_grad` around x?",
)
def dispatch_of_fixed_tokens(x, expert_idx, weights, bank):
    return core_dispatch(x.detach(), expert_idx, weights, bank)


@mistake(
    "The results of a token's experts are not added: there is one for every choice.",
    "Which shape should the result have?",
)
def dispatch_without_the_sum(x, expert_idx, weights, bank):
    order, _, rows = sorted_rows(x, expert_idx, bank, lambda order: order // expert_idx.shape[1])
    return rows[order.argsort()].unflatten(0, expert_idx.shape) * weights[..., None]


@mistake(
    "The weights are multiplied in twice.",
    "How often does a weight meet its row?",
)
def dispatch_weighting_twice(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights**2, bank)


@mistake(
    "Choices whose weight is not above 0 are left out. Every chosen expert runs: a weight of 0 needs its gradient, and "
    "one below 0 counts as well.",
    "What is the gradient of a weight that is 0?",
)
def dispatch_of_positive_weights(x, expert_idx, weights, bank):
    kept = weights * (weights > 0)
    return core_dispatch(x, expert_idx, kept, bank)


DISPATCH = (
    dispatch_without_going_back,
    dispatch_without_weights,
    dispatch_of_the_first_choice,
    dispatch_weighting_the_input,
    dispatch_averaging,
    dispatch_ordering_twice,
    dispatch_without_the_idle,
    dispatch_to_everybody,
    dispatch_with_tokens_by_modulo,
    dispatch_with_choices_for_tokens,
    dispatch_keeping_the_last,
    dispatch_without_sorting,
    dispatch_sorting_downwards,
    dispatch_with_a_residual,
    dispatch_normalising_again,
    dispatch_with_softmax_of_the_weights,
    dispatch_with_fixed_weights,
    dispatch_with_little_room,
    dispatch_with_the_first_weight,
    dispatch_of_the_last_choice,
    dispatch_of_fixed_tokens,
    dispatch_without_the_sum,
    dispatch_weighting_twice,
    dispatch_of_positive_weights,
    *PAIRS,
)
