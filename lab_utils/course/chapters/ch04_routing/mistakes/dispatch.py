"""The known wrong answers to dispatch, of notebook 04."""

import torch

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
    "Which of the arguments does your function never read?",
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
    "The weights are put in the order of the sorted rows, so each row gets the weight of another.",
    "Which weight belongs to the first row of expert 0?",
)
def dispatch_with_shuffled_weights(x, expert_idx, weights, bank):
    order = expert_idx.flatten().argsort(stable=True)
    shuffled = torch.empty_like(weights.flatten())
    shuffled = shuffled.index_copy(0, order, weights.flatten())
    return core_dispatch(x, expert_idx, shuffled.view_as(weights), bank)


@mistake(
    "The choices are averaged: there is a division by K too many.",
    "The weights say how much each expert counts. What do they sum to?",
)
def dispatch_averaging(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights, bank) / expert_idx.shape[1]


@mistake(
    "The way back applies `order` a second time. It says which pair each row came from; you need where each pair went.",
    "order = [1, 2, 0]: the row of pair 0 is at place 2. Which list has 2 at its first place?",
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
    "Every expert runs on every token. The numbers are right, and it is E/K times too much work.",
    "How many rows does your function give to the bank in all? There are tokens · K pairs.",
)
def dispatch_to_everybody(x, expert_idx, weights, bank):
    n_experts, y = bank.down_proj.shape[0], torch.zeros_like(x)
    for e in range(n_experts):
        weight = (weights * (expert_idx == e)).sum(dim=-1, keepdim=True)
        y = y + weight * bank(x, [len(x) if i == e else 0 for i in range(n_experts)])
    return y


DISPATCH = (
    dispatch_without_going_back,
    dispatch_without_weights,
    dispatch_of_the_first_choice,
    dispatch_weighting_the_input,
    dispatch_with_shuffled_weights,
    dispatch_averaging,
    dispatch_ordering_twice,
    dispatch_without_the_idle,
    dispatch_to_everybody,
)
