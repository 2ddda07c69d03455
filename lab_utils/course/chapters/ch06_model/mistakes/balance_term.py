"""The known wrong answers to balance_term, of notebook 06."""

from dataclasses import replace

import torch

from lab_utils.course.exercise import mistake
from nanokimi.loss import balance_term as core_balance_term


def each(routing, cfg):
    """The terms of every layer by themselves."""
    return [core_balance_term((stats,), cfg) for stats in routing]


@mistake(
    "The layers' terms are added; the docstring asks for their mean, so that depth does not change the strength.",
    "Give it the same layer twice. Should the term double?",
)
def balance_summed_over_layers(routing, cfg):
    return torch.stack(each(routing, cfg)).sum() if routing else torch.zeros(())


@mistake(
    "Only the last layer counts: each round of the loop overwrites the one before.",
    "What does your function return for two layers of which the second is perfectly even?",
)
def balance_of_the_last_layer(routing, cfg):
    return each(routing, cfg)[-1] if routing else torch.zeros(())


@mistake(
    "The coefficients are not multiplied in.",
    "Double a coefficient. What should happen to the term?",
)
def balance_without_coefficients(routing, cfg):
    on = {name: float(bool(getattr(cfg, name))) for name in ("switch_coef", "sequence_coef", "z_coef")}
    return core_balance_term(routing, replace(cfg, **on))


@mistake(
    "The z-loss is left out.",
    "How many coefficients does BalanceConfig have, and how many does your function read? One of them belongs to "
    "the bias update, not here.",
)
def balance_without_z(routing, cfg):
    return core_balance_term(routing, replace(cfg, z_coef=0.0))


@mistake(
    "The term carries no gradient (detached, or turned into a Python number): it is reported and changes nothing.",
    "Call backward on it and look at the gate's gradient.",
)
def balance_without_gradient(routing, cfg):
    return core_balance_term(routing, cfg).detach()


@mistake(
    "The Switch loss is used for the sequence loss as well: each coefficient belongs to its own loss.",
    "Set one coefficient at a time and compare with the loss of that name.",
)
def balance_with_switch_for_sequence(routing, cfg):
    both = cfg.switch_coef + cfg.sequence_coef
    return core_balance_term(routing, replace(cfg, switch_coef=both, sequence_coef=0.0))


@mistake(
    "The mean runs over all terms. It should run over the layers: the losses of one layer are added up.",
    "Switch a second loss on. Should the first one then count half?",
)
def balance_averaged_over_terms(routing, cfg):
    n_on = sum(c > 0 for c in (cfg.switch_coef, cfg.sequence_coef, cfg.z_coef))
    return core_balance_term(routing, cfg) / max(n_on, 1)


BALANCE_TERM = (
    balance_summed_over_layers,
    balance_of_the_last_layer,
    balance_without_coefficients,
    balance_without_z,
    balance_without_gradient,
    balance_with_switch_for_sequence,
    balance_averaged_over_terms,
)
