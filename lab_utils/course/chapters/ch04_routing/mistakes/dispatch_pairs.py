"""The known wrong answers to dispatch, of notebook 04, that mix up pairs, or leave some of them out."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.moe import dispatch as core_dispatch


def counts_of(pairs, bank):
    return torch.bincount(pairs, minlength=bank.down_proj.shape[0]).tolist()


@mistake(
    "The rows are repeated as a whole, x after x, so that pair i is of token i modulo the number of tokens; it should "
    "be token i // K.",
    "Three tokens, K = 2: which rows does x.repeat(2, 1) give, and which x.repeat_interleave(2, dim=0)?",
)
def dispatch_repeating_the_whole(x, expert_idx, weights, bank):
    top_k, pairs = expert_idx.shape[1], expert_idx.flatten()
    order = pairs.argsort(stable=True)
    rows = bank(x.repeat(top_k, 1)[order], counts_of(pairs, bank)) * weights.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, order // top_k, rows)


@mistake(
    "The pairs are listed choice by choice, and their tokens are computed as if they were listed token by token.",
    "Three tokens, K = 2: which token does pair 1 of expert_idx.T.flatten() belong to?",
)
def dispatch_listing_by_choice(x, expert_idx, weights, bank):
    top_k, pairs = expert_idx.shape[1], expert_idx.T.flatten()
    order = pairs.argsort(stable=True)
    token = order // top_k
    rows = bank(x[token], counts_of(pairs, bank)) * weights.T.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, token, rows)


SHUFFLED_WEIGHTS = (
    "The rows are sorted by expert, and the weights beside them are not in the same order: a row gets the weight of "
    "another.",
    "Which weight belongs to the first row of expert 0?",
)


@mistake(*SHUFFLED_WEIGHTS)
def dispatch_with_shuffled_weights(x, expert_idx, weights, bank):
    return with_shuffled_weights(x, expert_idx, weights, bank, stable=True)


@mistake(*SHUFFLED_WEIGHTS)
def dispatch_with_shuffled_weights_in_any_order(x, expert_idx, weights, bank):
    return with_shuffled_weights(x, expert_idx, weights, bank, stable=False)


def with_shuffled_weights(x, expert_idx, weights, bank, stable):
    order = expert_idx.flatten().argsort(stable=stable)
    shuffled = torch.empty_like(weights.flatten())
    shuffled = shuffled.index_copy(0, order, weights.flatten())
    return core_dispatch(x, expert_idx, shuffled.view_as(weights), bank)


BY_SLOTS = (
    "Each slot is sorted by expert, and its weights beside it are not: a row gets the weight of another token.",
    "Which token does the first row of expert 0 belong to, and by which weight do you multiply it?",
)


def slot_by_slot(x, expert_idx, weights, bank, stable):
    y = torch.zeros_like(x)
    for chosen, weight in zip(expert_idx.T, weights.T):
        order = chosen.argsort(stable=stable)
        y = y.index_add(0, order, bank(x[order], counts_of(chosen, bank)) * weight[:, None])
    return y


@mistake(*BY_SLOTS)
def dispatch_by_slots_with_weights_in_their_old_order(x, expert_idx, weights, bank):
    return slot_by_slot(x, expert_idx, weights, bank, stable=True)


@mistake(*BY_SLOTS)
def dispatch_by_slots_in_any_order_with_weights_in_their_old_order(x, expert_idx, weights, bank):
    return slot_by_slot(x, expert_idx, weights, bank, stable=False)


@mistake(
    "Only the first choice of each token runs, with the sum of all the token's weights.",
    "How many experts does a token have for K = 2?",
)
def dispatch_of_the_first_with_all_weights(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx[:, :1].contiguous(), weights.sum(dim=1, keepdim=True), bank)


@mistake(
    "The experts' rows are added first and then multiplied by the mean weight of the token. Each row has a weight of "
    "its own.",
    "Two experts with the weights 0.9 and 0.1: does your result say which of them counts more?",
)
def dispatch_with_the_mean_weight(x, expert_idx, weights, bank):
    mean = weights.mean(dim=1, keepdim=True)
    return core_dispatch(x, expert_idx, mean.expand_as(weights).contiguous(), bank)


@mistake(
    "The experts' rows are added first and then multiplied by the sum of the token's weights. Each row has a weight of "
    "its own.",
    "Two experts with the weights 0.9 and 0.1: does your result say which of them counts more?",
)
def dispatch_with_the_sum_of_weights(x, expert_idx, weights, bank):
    total = weights.sum(dim=1, keepdim=True)
    return core_dispatch(x, expert_idx, total.expand_as(weights).contiguous(), bank)


def keep(weights, kept):
    return torch.where(kept, weights, torch.zeros_like(weights))


@mistake(
    "The last expert never runs.",
    "Which numbers does range(n_experts - 1) give for three experts?",
)
def dispatch_without_the_last_expert(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, expert_idx < bank.down_proj.shape[0] - 1), bank)


@mistake(
    "The first expert never runs.",
    "What is the number of the first expert?",
)
def dispatch_without_the_first_expert(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, expert_idx > 0), bank)


@mistake(
    "An expert with a single row is left out. A .squeeze() of one number does this, and so does a comparison with 1.",
    "What shape has the list of an expert's tokens when there is one?",
)
def dispatch_without_single_rows(x, expert_idx, weights, bank):
    load = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0])
    return core_dispatch(x, expert_idx, keep(weights, load[expert_idx] > 1), bank)


@mistake(
    "Pairs whose weight is 0 are left out. They add nothing to the sum, but a weight of 0 has a gradient: without it "
    "the expert stays at 0.",
    "What is the gradient of a weight that is 0?",
)
def dispatch_of_weights_other_than_0(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, weights != 0), bank)


@mistake(
    "The weights lose their sign. One below 0 is multiplied in as it is.",
    "What should come back when all weights are turned from 1 to -1?",
)
def dispatch_with_weights_without_sign(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, weights.abs(), bank)


@mistake(
    "No gradient goes back through the experts: neither they nor the tokens get one.",
    "Is there a `detach` or a `no_grad` around the call of the bank?",
)
def dispatch_of_fixed_experts(x, expert_idx, weights, bank):
    rows = [
        core_dispatch(x, expert_idx[:, k : k + 1], torch.ones_like(x[:, :1]), bank)
        for k in range(expert_idx.shape[1])
    ]
    return sum(weights[:, k, None] * row.detach() for k, row in enumerate(rows))


@mistake(
    "The number of choices per token is not read from `expert_idx`: it is 2, also where a token has another number.",
    "For K = 1 and for K = 3: by what do you divide the number of a pair?",
)
def dispatch_of_two_choices_each(x, expert_idx, weights, bank):
    order = expert_idx.flatten().argsort(stable=True)
    counts = torch.bincount(expert_idx.flatten(), minlength=bank.down_proj.shape[0]).tolist()
    rows = bank(x[order // 2], counts)
    return torch.zeros_like(x).index_add(0, order // 2, rows * weights.flatten()[order, None])


LEAVES_SMALL_WEIGHTS_OUT = (
    "Choices with a small weight are left out, and so are those below 0. Every chosen expert runs, however little it "
    "counts: its weight has a gradient.",
    "From which number on does your function take a weight? Should there be one?",
)


@mistake(*LEAVES_SMALL_WEIGHTS_OUT)
def dispatch_of_weights_above_a_thousandth(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, weights > 1e-3), bank)


@mistake(*LEAVES_SMALL_WEIGHTS_OUT)
def dispatch_of_weights_above_a_twentieth(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, weights > 0.05), bank)


@mistake(*LEAVES_SMALL_WEIGHTS_OUT)
def dispatch_of_weights_above_a_tenth(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, weights > 0.1), bank)


@mistake(
    "Choices are left out whose weight is near 0. Every chosen expert runs, however little it counts: its weight has a "
    "gradient.",
    "From which number on does your function take a weight? Should there be one?",
)
def dispatch_of_weights_far_from_0(x, expert_idx, weights, bank):
    return core_dispatch(x, expert_idx, keep(weights, weights.abs() > 1e-3), bank)


PAIRS = (
    dispatch_with_shuffled_weights,
    dispatch_with_shuffled_weights_in_any_order,
    dispatch_of_two_choices_each,
    dispatch_of_weights_above_a_thousandth,
    dispatch_of_weights_above_a_twentieth,
    dispatch_of_weights_above_a_tenth,
    dispatch_of_weights_far_from_0,
    dispatch_repeating_the_whole,
    dispatch_listing_by_choice,
    dispatch_by_slots_with_weights_in_their_old_order,
    dispatch_by_slots_in_any_order_with_weights_in_their_old_order,
    dispatch_of_the_first_with_all_weights,
    dispatch_with_the_mean_weight,
    dispatch_with_the_sum_of_weights,
    dispatch_without_the_last_expert,
    dispatch_without_the_first_expert,
    dispatch_without_single_rows,
    dispatch_of_weights_other_than_0,
    dispatch_with_weights_without_sign,
    dispatch_of_fixed_experts,
)
