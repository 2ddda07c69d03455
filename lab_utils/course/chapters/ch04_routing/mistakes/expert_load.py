"""The known wrong answers to expert_load, of notebook 04."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load


@mistake(
    "The result ends with the last expert that somebody chose: the experts behind it are missing.",
    "With four experts and only expert 1 chosen: how many numbers should come back?",
)
def load_of_the_busy_only(expert_idx, n_experts):
    return torch.bincount(expert_idx.flatten())


@mistake(
    "Only the first choice of every token is counted.",
    "The counts should sum to tokens · K.",
)
def load_of_first_choices(expert_idx, n_experts):
    return torch.bincount(expert_idx[..., 0].flatten(), minlength=n_experts)


@mistake(
    "It returns shares; the docstring asks for counts.",
    "What should the result sum to?",
)
def load_as_share(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) / expert_idx.numel()


@mistake(
    "It says whether an expert was chosen, not how often.",
    "If three tokens choose expert 0, what is its load? load[idx] += 1 adds 1 to a place, however often idx names it.",
)
def load_as_yes_or_no(expert_idx, n_experts):
    return (core_load(expert_idx, n_experts) > 0).long()


@mistake(
    "The counts are divided by K: they count tokens, not choices.",
    "The counts should sum to tokens · K.",
)
def load_divided_by_k(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) // expert_idx.shape[-1]


@mistake(
    "The counts are floating-point numbers; asked for are whole ones.",
    "Which dtype do your counts have?",
)
def load_of_floats(expert_idx, n_experts):
    return core_load(expert_idx, n_experts).float()


@mistake(
    "Only experts that somebody chose are counted: where the others belong, numbers move up.",
    "With four experts and only expert 1 chosen: how many numbers should come back?",
)
def load_of_the_chosen_only(expert_idx, n_experts):
    return expert_idx.unique(return_counts=True)[1]


@mistake(
    "It counts the rows in which an expert stands, not how often it stands there.",
    "The docstring says: how many choices, for an index of any shape.",
)
def load_of_rows(expert_idx, n_experts):
    return torch.stack([(expert_idx == e).any(dim=-1).sum() for e in range(n_experts)])


@mistake(
    "bincount takes one flat list; an index of any shape must be flattened first.",
    "What makes one axis of all axes?",
)
def load_without_flattening(expert_idx, n_experts):
    return torch.bincount(expert_idx, minlength=n_experts)


@mistake(
    "Only the first row of the index is counted.",
    "The counts should sum to tokens · K.",
)
def load_of_the_first_row(expert_idx, n_experts):
    return torch.bincount(expert_idx[0].flatten(), minlength=n_experts)


@mistake(
    "There is one place too many: n_experts + 1.",
    "With experts 0 to 3, how many numbers should come back?",
)
def load_with_one_place_too_many(expert_idx, n_experts):
    return torch.bincount(expert_idx.flatten(), minlength=n_experts + 1)


@mistake(
    "The counts begin with expert 1: every number stands one place too early.",
    "What is the number of the first expert?",
)
def load_from_expert_one(expert_idx, n_experts):
    return torch.stack([(expert_idx == e).sum() for e in range(1, n_experts + 1)])


@mistake(
    "Only the first axis is summed: there is a row of counts for every choice.",
    "Which shape should the result have for an index of any shape?",
)
def load_of_the_first_axis(expert_idx, n_experts):
    return torch.nn.functional.one_hot(expert_idx, n_experts).sum(dim=0)


@mistake(
    "The counts come back as a list; asked for is a tensor.",
    "What does the signature say that comes back?",
)
def load_as_a_list(expert_idx, n_experts):
    return core_load(expert_idx, n_experts).tolist()


@mistake(
    "Only the last choice of every token is counted.",
    "The counts should sum to tokens · K.",
)
def load_of_last_choices(expert_idx, n_experts):
    return torch.bincount(expert_idx[..., -1].flatten(), minlength=n_experts)


@mistake(
    "The counts are sorted: place e no longer belongs to expert e.",
    "Which expert does the first number of your result speak of?",
)
def load_in_order_of_size(expert_idx, n_experts):
    return core_load(expert_idx, n_experts).sort(descending=True).values


@mistake(
    "The counts of the chosen experts stand in the first places, one after the other. Place e belongs to expert e.",
    "With four experts and only expert 2 chosen: which place holds its count?",
)
def load_of_the_chosen_first(expert_idx, n_experts):
    load = torch.zeros(n_experts, dtype=torch.long)
    counts = expert_idx.unique(return_counts=True)[1]
    load[: len(counts)] = counts
    return load


@mistake(
    "The counts have 8 bits: after 255 they begin again at 0.",
    "Which is the largest number of your dtype, and how many tokens may choose one expert?",
)
def load_of_8_bits(expert_idx, n_experts):
    return core_load(expert_idx, n_experts).to(torch.uint8)


@mistake(
    "The counts have 16 bits: after 32,767 they go on below zero.",
    "Which is the largest number of your dtype, and how many tokens may choose one expert?",
)
def load_of_16_bits(expert_idx, n_experts):
    return core_load(expert_idx, n_experts).to(torch.int16)


EXPERT_LOAD = (
    load_of_the_busy_only,
    load_of_first_choices,
    load_as_share,
    load_as_yes_or_no,
    load_divided_by_k,
    load_of_floats,
    load_of_the_chosen_only,
    load_of_rows,
    load_without_flattening,
    load_of_the_first_row,
    load_with_one_place_too_many,
    load_from_expert_one,
    load_of_the_first_axis,
    load_as_a_list,
    load_of_last_choices,
    load_in_order_of_size,
    load_of_the_chosen_first,
    load_of_8_bits,
    load_of_16_bits,
)
