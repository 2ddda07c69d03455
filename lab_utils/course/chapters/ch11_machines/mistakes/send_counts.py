"""The known wrong answers to send_counts, of notebook 11."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load


@mistake(
    "It is the load of the experts in one row: the ranks are not told apart.",
    "Six experts on two ranks: which shape should the counts have?",
)
def counts_in_one_row(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts)


@mistake(
    "The rows of each rank are added up. Who receives must know for which expert a row is.",
    "Six experts on two ranks: which shape should the counts have?",
)
def counts_of_ranks_alone(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1).sum(dim=1)


@mistake(
    "The experts are dealt in turns, as cards are; here each rank holds neighbours.",
    "Four experts on two ranks: which two are on rank 0?",
)
def counts_dealt_in_turns(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(-1, n_ranks).T


@mistake(
    "The axes are exchanged: a row is an expert, a column a rank.",
    "Which axis comes first in the docstring?",
)
def counts_turned(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1).T


@mistake(
    "The table has a row for each expert of a rank, with the numbers in another order: view was given the two sizes in "
    "the wrong order.",
    "Four experts on two ranks, six on three: which entry is the count of the last expert of rank 0?",
)
def counts_viewed_wrongly(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(-1, n_ranks)


@mistake(
    "Only the first choice of every token is counted.",
    "The counts should sum to tokens · K.",
)
def counts_of_first_choices(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx[:, :1], n_experts).view(n_ranks, -1)


@mistake(
    "A token that goes to two experts of a rank is counted once. Each choice is a row that travels.",
    "The counts should sum to tokens · K.",
)
def counts_of_tokens(expert_idx, n_experts, n_ranks):
    rank = expert_idx // (n_experts // n_ranks)
    last = torch.ones_like(rank, dtype=torch.bool)
    for k in range(rank.shape[1]):
        last[:, k] = (rank[:, k + 1 :] != rank[:, k : k + 1]).all(dim=1)
    return expert_load(expert_idx[last], n_experts).view(n_ranks, -1)


@mistake(
    "It says whether a row goes to an expert, not how many.",
    "If three tokens choose expert 1, how many rows travel to it?",
)
def counts_as_yes_or_no(expert_idx, n_experts, n_ranks):
    return (expert_load(expert_idx, n_experts).view(n_ranks, -1) > 0).long()


@mistake(
    "They are shares of all rows; the all-to-all needs to know how many rows.",
    "The counts should sum to tokens · K.",
)
def counts_as_shares(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1) / max(1, expert_idx.numel())


@mistake(
    "The counts are those of the whole group: they are multiplied by the number of ranks.",
    "The counts should sum to the tokens · K of this rank.",
)
def counts_of_all_ranks(expert_idx, n_experts, n_ranks):
    return n_ranks * expert_load(expert_idx, n_experts).view(n_ranks, -1)


@mistake(
    "The ranks stand in the opposite order.",
    "On which rank is expert 0?",
)
def counts_backwards(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1).flip(0)


@mistake(
    "The tokens are divided among the ranks, and a row of the table counts what one of them sends to rank 0. All these "
    "tokens are on one rank: the rows of the table are the ranks that receive.",
    "Does `expert_idx` say on which rank a token is? What does [r, e] count?",
)
def counts_of_rank_0_as_the_receiver(expert_idx, n_experts, n_ranks):
    share = n_experts // n_ranks
    parts = expert_idx.tensor_split(n_ranks)
    return torch.stack([expert_load(part[part < share], share) for part in parts])


@mistake(
    "The tokens are divided among the ranks, and a row of the table counts what one of them sends to the last rank. "
    "All these tokens are on one rank: the rows of the table are the ranks that receive.",
    "Does `expert_idx` say on which rank a token is? What does [r, e] count?",
)
def counts_of_the_last_rank_as_the_receiver(expert_idx, n_experts, n_ranks):
    share = n_experts // n_ranks
    first, parts = n_experts - share, expert_idx.tensor_split(n_ranks)
    return torch.stack([expert_load(part[part >= first] - first, share) for part in parts])


@mistake(
    "The tokens are divided among the ranks, and a row of the table counts what one of them sends to all experts. "
    "All these tokens are on one rank: the rows of the table are the ranks that receive.",
    "Six experts on two ranks: which shape should the counts have?",
)
def counts_by_senders(expert_idx, n_experts, n_ranks):
    return torch.stack([expert_load(part, n_experts) for part in expert_idx.tensor_split(n_ranks)])


@mistake(
    "It is the first row alone: what goes to rank 0.",
    "Six experts on two ranks: which shape should the counts have?",
)
def counts_for_rank_0(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1)[0]


@mistake(
    "Every row is the first one: the counts for the experts of rank 0.",
    "If nobody chooses an expert of rank 0, which rows of the table are zero?",
)
def counts_for_rank_0_in_every_row(expert_idx, n_experts, n_ranks):
    counts = expert_load(expert_idx, n_experts).view(n_ranks, -1)
    return counts[:1].repeat(n_ranks, 1)


@mistake(
    "The row of rank 0 is zero. Rows for its experts are counted as well, on whichever rank the tokens are.",
    "The counts should sum to tokens · K.",
)
def counts_without_rank_0(expert_idx, n_experts, n_ranks):
    counts = expert_load(expert_idx, n_experts).view(n_ranks, -1)
    counts[0] = 0
    return counts


@mistake(
    "The ranks are added up: one number for the first experts of all ranks, one for the second, and so on.",
    "Six experts on two ranks: which shape should the counts have?",
)
def counts_of_places(expert_idx, n_experts, n_ranks):
    return expert_load(expert_idx, n_experts).view(n_ranks, -1).sum(dim=0)


SEND_COUNTS = (
    counts_in_one_row,
    counts_of_ranks_alone,
    counts_dealt_in_turns,
    counts_turned,
    counts_viewed_wrongly,
    counts_of_first_choices,
    counts_of_tokens,
    counts_as_yes_or_no,
    counts_as_shares,
    counts_of_all_ranks,
    counts_backwards,
    counts_of_rank_0_as_the_receiver,
    counts_of_the_last_rank_as_the_receiver,
    counts_by_senders,
    counts_for_rank_0,
    counts_for_rank_0_in_every_row,
    counts_without_rank_0,
    counts_of_places,
)
