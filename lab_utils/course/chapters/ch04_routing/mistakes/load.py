"""Wrong answers to the exercises of notebook 04: measuring the load."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load

# ---------------------------------------------------------------- expert_load


@mistake(
    "Experts that nobody chose are missing: the result is too short, or it moves up.",
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
    "It is a share that comes back; the docstring asks for counts.",
    "What should the result sum to?",
)
def load_as_share(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) / expert_idx.numel()


@mistake(
    "It says whether an expert was chosen, not how often.",
    "Three tokens choose expert 0. What is its load? load[idx] += 1 adds 1 to a place, however often idx names it.",
)
def load_as_yes_or_no(expert_idx, n_experts):
    return (core_load(expert_idx, n_experts) > 0).long()


@mistake(
    "Each token is counted once an expert list, then divided by K: tokens, not choices.",
    "The counts should sum to tokens · K.",
)
def load_divided_by_k(expert_idx, n_experts):
    return core_load(expert_idx, n_experts) // expert_idx.shape[-1]


EXPERT_LOAD = (
    load_of_the_busy_only,
    load_of_first_choices,
    load_as_share,
    load_as_yes_or_no,
    load_divided_by_k,
)

# ---------------------------------------------------------------- max_violation


@mistake("The 1 is not subtracted: an even load should give 0.", "What is max/mean when all loads are equal?")
def violation_without_minus_one(load):
    return (load.max() / load.mean()).item()


@mistake(
    "The largest load is divided by the sum, not by the mean.",
    "What is a fair share of 40 tokens for 4 experts?",
)
def violation_by_the_sum(load):
    return (load.max() / load.sum() - 1).item()


@mistake(
    "It compares the busiest with the idlest expert; MaxVio compares with the mean.",
    "What should come out when one expert has no token at all?",
)
def violation_by_the_least(load):
    return (load.max() / load.min().clamp(min=1) - 1).item()


@mistake(
    "It is the spread (standard deviation) of the loads.", "Which single expert does the word *max* speak of?"
)
def violation_as_spread(load):
    return (load.std(correction=0) / load.mean()).item()


@mistake(
    "It measures the idlest expert, not the busiest.", "Which single expert does the word *max* speak of?"
)
def violation_of_the_idlest(load):
    return (1 - load.min() / load.mean()).item()


@mistake(
    "It is a number of tokens: how many the busiest has more than the mean. MaxVio is that in fair shares.",
    "Twice the batch, the same router: should the number double?",
)
def violation_in_tokens(load):
    return (load.max() - load.mean()).item()


MAX_VIOLATION = (
    violation_without_minus_one,
    violation_by_the_sum,
    violation_by_the_least,
    violation_as_spread,
    violation_of_the_idlest,
    violation_in_tokens,
)
