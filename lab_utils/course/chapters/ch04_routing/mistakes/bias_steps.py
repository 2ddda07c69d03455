"""The known wrong answers to update_expert_bias_, of notebook 04, that compare or move in another way."""

import torch

from lab_utils.course.exercise import mistake


def step(load, rate, middle=None):
    """rate · sign(middle - load); the middle is the mean, unless it is given."""
    load = load.to(torch.float32)
    return rate * ((load.mean() if middle is None else middle) - load).sign()


@mistake(
    "The loads are compared with the middle between the largest and the smallest; they should be compared with their "
    "mean.",
    "Loads of 4, 3, 2 and 2: what is the mean, and what is the middle between 4 and 2?",
)
def bias_by_the_middle_of_the_range(expert_bias, load, rate):
    delta = step(load, rate, (load.max() + load.min()) / 2)
    expert_bias += delta - delta.mean()


@mistake(
    "The loads are compared with 1/E, which would be right for shares; they are counts, and are compared with their "
    "mean.",
    "Four experts have 9, 1, 1 and 1 tokens: which of these numbers are above 1/4?",
)
def bias_by_a_share_of_one(expert_bias, load, rate):
    delta = step(load, rate, 1 / len(load))
    expert_bias += delta - delta.mean()


@mistake(
    "The old bias is made smaller first, by the factor 1 - rate. Nothing pulls it back to 0.",
    "The bias 0.5, and an even load: what should it be afterwards?",
)
def bias_that_decays(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias *= 1 - rate
    expert_bias += delta - delta.mean()


@mistake(
    "The loads become numbers of 16 bits, float16 or bfloat16: a load of 2049 is rounded to 2048, and counts as even.",
    "Which whole numbers does float16 hold? And float32?",
)
def bias_by_loads_of_16_bits(expert_bias, load, rate):
    half = load.half()
    delta = rate * (half.mean() - half).sign().float()
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the sizes of the moves is subtracted, without their signs. It should be the mean of the moves.",
    "One bias rises and one falls: what is the mean of the two moves?",
)
def bias_less_the_mean_of_sizes(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias += delta - delta.abs().mean()


@mistake(
    "The sum of the moves is subtracted from every bias; it should be their mean.",
    "Loads of 9, 1, 1 and 1: what do the biases add up to after your step?",
)
def bias_less_the_sum(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias += delta - delta.sum()


@mistake(
    "The loads are sorted first: an expert gets the move of another.",
    "Which expert does the first of your moves belong to?",
)
def bias_by_sorted_loads(expert_bias, load, rate):
    delta = step(load.sort().values, rate)
    expert_bias += delta - delta.mean()


@mistake(
    "A load within 10 % of the mean counts as even and gets no step. Only one at exactly the mean does.",
    "Loads of 4, 3, 2 and 2 have the mean 2.75. Is the second expert above it or below?",
)
def bias_with_a_margin_in_percent(expert_bias, load, rate):
    load = load.float()
    mean = load.mean()
    delta = rate * ((load < 0.9 * mean).float() - (load > 1.1 * mean).float())
    expert_bias += delta - delta.mean()


@mistake(
    "The step is in proportion to how far a share of all tokens is from 1/E. Only the sign of the difference counts.",
    "Two experts have 1 % and 90 % of a fair share. How far does each bias move?",
)
def bias_in_shares_of_all(expert_bias, load, rate):
    delta = rate * (1 / len(load) - load / load.sum())
    expert_bias += delta - delta.mean()


STEPS = (
    bias_by_the_middle_of_the_range,
    bias_by_a_share_of_one,
    bias_that_decays,
    bias_by_loads_of_16_bits,
    bias_less_the_mean_of_sizes,
    bias_less_the_sum,
    bias_by_sorted_loads,
    bias_with_a_margin_in_percent,
    bias_in_shares_of_all,
)
