"""The known wrong answers to regroup, of notebook 11."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.expert_parallel import regroup as core_regroup


def experts_of(received):
    """The expert of each arrived row."""
    return torch.arange(received.shape[1]).repeat(len(received)).repeat_interleave(received.flatten())


def both(order):
    return order, order.argsort()


@mistake(
    "The rows stay as they arrived, by sender: an expert's rows do not lie together.",
    "Two ranks send a row for each of two experts: which two rows are those of expert 0?",
)
def order_of_arrival(received):
    return both(torch.arange(int(received.sum())))


@mistake(
    "The way back is the same order once more. What undoes an order is another one.",
    "If row 3 has gone to place 2, from which place must it be taken on the way back?",
)
def order_twice(received):
    order, _ = core_regroup(received)
    return order, order


@mistake(
    "The two orders are exchanged.",
    "The first one is for x.index_select(0, order): which row comes first in it?",
)
def orders_exchanged(received):
    order, back = core_regroup(received)
    return back, order


@mistake(
    "`received` is read the other way: its rows are the senders, its columns the experts.",
    "Two ranks send [2, 1] and [1, 2]: for which expert is the third row that arrives?",
)
def order_by_rows_as_experts(received):
    return both(
        torch.arange(len(received))
        .repeat(received.shape[1])
        .repeat_interleave(received.T.flatten())
        .argsort()
    )


@mistake(
    "The expert numbers come back, not an order: say at which place the row lay that comes next.",
    "Which numbers may occur in an order of six rows, and how often each?",
)
def experts_instead_of_an_order(received):
    return both(experts_of(received).sort().values)


@mistake(
    "The rows of an expert stand in the opposite order of their senders.",
    "Of the rows for one expert, those of rank 0 come first.",
)
def order_with_the_last_sender_first(received):
    expert = experts_of(received)
    place = torch.arange(len(expert)).flip(0)
    return both((expert * (len(expert) + 1) + place).argsort())


@mistake(
    "The experts stand in the opposite order.",
    "Which expert's rows come first?",
)
def order_with_the_last_expert_first(received):
    return both((-experts_of(received)).argsort(stable=True))


@mistake(
    "It takes every sender to have sent one row for each expert, however many there are.",
    "What does `received` say, and does your result depend on it?",
)
def order_of_one_row_each(received):
    n_ranks, n_experts = received.shape
    return both(torch.arange(n_experts).repeat(n_ranks).argsort(stable=True))


@mistake(
    "The way back is the order read from its end.",
    "If row 3 has gone to place 2, from which place must it be taken on the way back?",
)
def way_back_from_the_end(received):
    order, _ = core_regroup(received)
    return order, order.flip(0)


@mistake(
    "The way back leaves the rows as they are.",
    "If row 3 has gone to place 2, from which place must it be taken on the way back?",
)
def way_back_left_out(received):
    order, _ = core_regroup(received)
    return order, torch.arange(len(order))


@mistake(
    "The counts are read by expert first, and the rows lie by sender first: rows get the experts of others.",
    "In which order do the numbers of `received` come in `flatten`, and in which the rows that they count?",
)
def order_of_labels_by_expert(received):
    n_ranks, n_experts = received.shape
    expert = torch.arange(n_experts).repeat(n_ranks).repeat_interleave(received.T.flatten())
    return both(expert.argsort(stable=True))


@mistake(
    "Within an expert the senders stand in the opposite order; the rows of each sender keep theirs.",
    "Of the rows for one expert, those of rank 0 come first.",
)
def order_with_the_last_sender_in_front(received):
    sender = torch.arange(len(received)).repeat_interleave(received.sum(dim=1))
    return both((experts_of(received) * len(received) - sender).argsort(stable=True))


def order_of_blocks(first, received):
    """The order that takes, expert by expert and sender by sender, `received[s, e]` rows from `first[s, e]` on."""
    starts, counts = first.T.flatten().tolist(), received.T.flatten().tolist()
    return torch.cat([torch.arange(start, start + n) for start, n in zip(starts, counts, strict=True)])


@mistake(
    "The rows of each sender for each expert are taken to begin where they end: as many rows too far as there are of "
    "them. Up to the first row of a block there are the rows of all blocks before it.",
    "The counts 2, 1, 3: at which rows do the three blocks begin, and what does cumsum give?",
)
def order_from_inclusive_sums(received):
    return both(order_of_blocks(received.flatten().cumsum(0).view_as(received), received))


@mistake(
    "The rows of each sender are counted from 0, as if no other sender's lay before them.",
    "If rank 0 sends three rows, at which row do those of rank 1 begin?",
)
def order_from_sums_of_each_sender(received):
    return both(order_of_blocks(received.cumsum(dim=1) - received, received))


@mistake(
    "The first row of a block, after the first block, counts to one before it: it gets the expert of the row before.",
    "The counts 2, 1: the sums are 2 and 3. To which block does row 2 belong, the third one?",
)
def order_with_ends_included(received):
    ends = received.flatten().cumsum(0)
    block = torch.searchsorted(ends, torch.arange(int(received.sum())))
    return both((block % received.shape[1]).argsort(stable=True))


REGROUP = (
    order_of_labels_by_expert,
    order_with_the_last_sender_in_front,
    order_of_arrival,
    order_twice,
    orders_exchanged,
    order_by_rows_as_experts,
    experts_instead_of_an_order,
    order_with_the_last_sender_first,
    order_with_the_last_expert_first,
    order_of_one_row_each,
    way_back_from_the_end,
    way_back_left_out,
    order_from_inclusive_sums,
    order_from_sums_of_each_sender,
    order_with_ends_included,
)
