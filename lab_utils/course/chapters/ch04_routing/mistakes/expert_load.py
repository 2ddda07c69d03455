"""The known wrong answers to expert_load, of notebook 04."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.router import expert_load as core_load


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
    "It returns shares; the docstring asks for counts.",
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
    "The counts are divided by K: they count tokens, not choices.",
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
