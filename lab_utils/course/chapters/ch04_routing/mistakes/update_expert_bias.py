"""The known wrong answers to update_expert_bias_, of notebook 04."""

import torch

from lab_utils.course.chapters.ch04_routing.mistakes.bias_steps import STEPS, step
from lab_utils.course.exercise import mistake


@mistake(
    "The sign is the wrong way round: busy experts get more, and the router collapses faster.",
    "An expert has too many tokens. Should its bias rise or fall?",
)
def bias_up_for_the_busy(expert_bias, load, rate):
    delta = -step(load, rate)
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the step is not subtracted: all biases drift together.",
    "Add up the steps of all experts when three are idle and one is busy.",
)
def bias_that_drifts(expert_bias, load, rate):
    expert_bias += step(load, rate)


@mistake(
    "The step grows with the difference of the loads. Only the sign of the difference counts.",
    "A load is off by 1 token, another by 1,000. How far does each bias move?",
)
def bias_in_proportion(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = rate * (load.mean() - load)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias is set to the step instead of moved by it: it forgets every step before.",
    "What is the bias after two equal steps?",
)
def bias_set_anew(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias.copy_(delta - delta.mean())


@mistake(
    "The rate makes no difference.",
    "Which of the arguments makes no difference in your function?",
)
def bias_without_rate(expert_bias, load, rate):
    delta = step(load, 1.0)
    expert_bias += delta - delta.mean()


@mistake(
    "The bias itself is not changed: `b = b + ...` makes a new tensor, and the layer still has the old one.",
    "The name ends with an underscore. What does that say in torch?",
)
def bias_changed_in_a_copy(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias = expert_bias + delta - delta.mean()


@mistake(
    "The step is in proportion to how far a load is from the mean. Only the sign of the difference counts.",
    "Two experts have 1 % and 90 % of a fair share. How far does each bias move?",
)
def bias_in_shares(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = rate * (load.mean() - load) / load.mean()
    expert_bias += delta - delta.mean()


@mistake(
    "An expert whose load is exactly the mean is pushed as well: there are two cases where there are three.",
    "What is sign(0), and what does your condition give there?",
)
def bias_of_two_cases(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = torch.where(load < load.mean(), rate, -rate)
    expert_bias += delta - delta.mean()


@mistake(
    "Your mean of the load is always a whole number, so that the sign of the difference is 0 for an expert close to "
    "the true mean.",
    "Four experts have 4, 3, 2 and 2 tokens. What is the mean, and what does your code compute?",
)
def bias_by_a_whole_mean(expert_bias, load, rate):
    delta = (rate * (load.sum() // len(load) - load).sign()).to(torch.float32)
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the load is rounded to a whole number. It may lie between two.",
    "Four experts have 4, 3, 2 and 2 tokens. What is the mean, and what does your code compute?",
)
def bias_by_a_rounded_mean(expert_bias, load, rate):
    delta = (rate * (round(load.float().mean().item()) - load).sign()).to(torch.float32)
    expert_bias += delta - delta.mean()


@mistake(
    "torch takes no mean of whole numbers: the load must become floating-point numbers first.",
    "Which dtype does `load` have?",
)
def bias_by_a_mean_of_whole_numbers(expert_bias, load, rate):
    delta = rate * (load.mean() - load).sign()
    expert_bias += delta - delta.mean()


@mistake(
    "An expert whose load is exactly the mean moves up: there are two cases where there are three.",
    "What is sign(0), and what does your condition give there?",
)
def bias_up_at_the_mean(expert_bias, load, rate):
    load = load.to(torch.float32)
    delta = torch.where(load <= load.mean(), rate, -rate)
    expert_bias += delta - delta.mean()


@mistake(
    "The mean of the biases is subtracted; it should be the mean of the moves.",
    "The biases 0.5 and 0.1, and an even load: what should they be afterwards?",
)
def bias_with_a_mean_of_zero(expert_bias, load, rate):
    expert_bias += step(load, rate)
    expert_bias -= expert_bias.mean().clone()


@mistake(
    "The loads are compared with their median; they should be compared with their mean.",
    "Loads of 9, 1, 1 and 1: which experts are below the mean, and which below the median?",
)
def bias_by_the_median(expert_bias, load, rate):
    delta = rate * (load.float().median() - load).sign()
    expert_bias += delta - delta.mean()


@mistake(
    "Only the busiest and the least busy expert move; every expert above or below the mean should.",
    "Loads of 9, 1, 1 and 1: how many biases rise?",
)
def bias_of_two_experts(expert_bias, load, rate):
    delta = torch.zeros_like(expert_bias)
    delta[load.argmin()] += rate
    delta[load.argmax()] -= rate
    expert_bias += delta


@mistake(
    "The mean of the signs is subtracted without the rate.",
    "delta is rate · sign: of which numbers is the mean taken?",
)
def bias_less_the_mean_of_signs(expert_bias, load, rate):
    sign = step(load, 1.0)
    expert_bias += rate * sign - sign.mean()


@mistake(
    "The mean of the moves is added; it should be subtracted.",
    "What should the moves sum to?",
)
def bias_plus_the_mean(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias += delta + delta.mean()


@mistake(
    "The move is divided by the number of experts.",
    "How far does the bias of an expert move whose load is below the mean, before the mean is subtracted?",
)
def bias_divided_by_the_experts(expert_bias, load, rate):
    delta = step(load, rate) / len(load)
    expert_bias += delta - delta.mean()


@mistake(
    "Only the biases of busy experts move; those of idle ones should rise as well.",
    "Which sign has the move of an expert below the mean?",
)
def bias_down_only(expert_bias, load, rate):
    delta = step(load, rate).clamp(max=0)
    expert_bias += delta - delta.mean()


@mistake(
    "Only the biases of idle experts move; those of busy ones should fall as well.",
    "Which sign has the move of an expert above the mean?",
)
def bias_up_only(expert_bias, load, rate):
    delta = step(load, rate).clamp(min=0)
    expert_bias += delta - delta.mean()


@mistake(
    "The loads are compared with the largest one; they should be compared with their mean.",
    "Loads of 9, 1, 1 and 1: does the bias of the busiest fall?",
)
def bias_by_the_largest(expert_bias, load, rate):
    delta = rate * (load.max() - load).sign().float()
    expert_bias += delta - delta.mean()


@mistake(
    "The mean leaves out experts without tokens.",
    "Loads of 4, 0, 2 and 2: what is the mean?",
)
def bias_by_the_mean_of_the_busy(expert_bias, load, rate):
    load = load.float()
    delta = rate * (load[load > 0].mean() - load).sign()
    expert_bias += delta - delta.mean()


@mistake(
    "The mean is taken of the moves that are not 0, and an expert at the mean is left where it was. The mean of all "
    "moves is subtracted, from every expert.",
    "Loads of 6, 3, 2 and 1: what do the four moves add up to, and where does the bias of the second expert go?",
)
def bias_less_the_mean_of_the_moved(expert_bias, load, rate):
    delta = step(load, rate)
    moved = delta != 0
    delta[moved] -= delta[moved].sum() / moved.sum().clamp(min=1)
    expert_bias += delta


@mistake(
    "The biases are kept between -1 and 1. Nothing bounds them.",
    "A bias of 1.5, and an even load: what should it be afterwards?",
)
def bias_within_bounds(expert_bias, load, rate):
    delta = step(load, rate)
    expert_bias += delta - delta.mean()
    expert_bias.clamp_(-1, 1)


@mistake(
    "An expert whose load is close to the mean counts as even and gets no step. Only one at exactly the mean does.",
    "Loads of 4, 3, 2 and 2 have the mean 2.75. Is the second expert above it or below?",
)
def bias_with_a_margin(expert_bias, load, rate):
    gap = load.float().mean() - load
    delta = rate * gap.sign() * (gap.abs() >= 0.5)
    expert_bias += delta - delta.mean()


UPDATE_EXPERT_BIAS = (
    bias_up_for_the_busy,
    bias_that_drifts,
    bias_in_proportion,
    bias_set_anew,
    bias_without_rate,
    bias_changed_in_a_copy,
    bias_in_shares,
    bias_of_two_cases,
    bias_by_a_whole_mean,
    bias_by_a_rounded_mean,
    bias_by_a_mean_of_whole_numbers,
    bias_up_at_the_mean,
    bias_with_a_mean_of_zero,
    bias_by_the_median,
    bias_of_two_experts,
    bias_less_the_mean_of_signs,
    bias_plus_the_mean,
    bias_divided_by_the_experts,
    bias_down_only,
    bias_up_only,
    bias_by_the_largest,
    bias_by_the_mean_of_the_busy,
    bias_less_the_mean_of_the_moved,
    bias_within_bounds,
    bias_with_a_margin,
    *STEPS,
)
