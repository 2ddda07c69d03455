"""The known wrong answers to balance_term, of notebook 06, for a dense model, which has no layer of experts."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.loss import balance_term as core_balance_term


@mistake(
    "For a dense model it divides by the number of its layers of experts, which is 0.",
    "What does your function return for routing = ()?",
)
def balance_dividing_by_no_layers(routing, cfg):
    return sum(core_balance_term((stats,), cfg) for stats in routing) / len(routing)


@mistake(
    "For a dense model the mean of nothing is nan. The term is 0 there.",
    "What does your function return for routing = ()?",
)
def balance_as_nan_for_no_layers(routing, cfg):
    return core_balance_term(routing, cfg) if routing else torch.zeros(0).mean()


@mistake(
    "For a dense model it returns a Python number. It should be a tensor, as for every other model.",
    "What does your function return for routing = ()?",
)
def balance_as_a_number_for_no_layers(routing, cfg):
    return core_balance_term(routing, cfg) if routing else 0


DENSE = (
    balance_dividing_by_no_layers,
    balance_as_nan_for_no_layers,
    balance_as_a_number_for_no_layers,
)
