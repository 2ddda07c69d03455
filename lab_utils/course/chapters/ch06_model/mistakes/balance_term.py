"""The known wrong answers to balance_term, of notebook 06."""

from dataclasses import replace

import torch

from lab_utils.course.chapters.ch06_model.mistakes.balance_dense import DENSE
from lab_utils.course.exercise import mistake
from nanokimi.loss import balance_term as core_balance_term

NAMES = ("switch_coef", "sequence_coef", "z_coef")


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
    on = {name: float(bool(getattr(cfg, name))) for name in NAMES}
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
    n_on = sum(getattr(cfg, name) > 0 for name in NAMES)
    return core_balance_term(routing, cfg) / max(n_on, 1)


@mistake(
    "The coefficients make no difference: all three losses are added as they are.",
    "What should come out where no coefficient is switched on?",
)
def balance_without_reading_coefficients(routing, cfg):
    return core_balance_term(routing, replace(cfg, **dict.fromkeys(NAMES, 1.0)))


@mistake("Only the first layer counts.", "Is there a `return` inside the loop?")
def balance_of_the_first_layer(routing, cfg):
    return each(routing, cfg)[0] if routing else torch.zeros(())


@mistake(
    "Only the first layer counts, divided by the number of layers: the loop ends in its first round.",
    "How far in does your `return` stand?",
)
def balance_of_the_first_layer_divided(routing, cfg):
    return each(routing, cfg)[0] / len(routing) if routing else torch.zeros(())


@mistake(
    "With three layers or more the later ones count more: each round takes the mean of the sum so far and one layer.",
    "Three layers have the terms 0, 0 and 3. What is their mean, and what does your loop give?",
)
def balance_as_a_running_mean(routing, cfg):
    total = torch.zeros(())
    for number, term in enumerate(each(routing, cfg)):
        total = (total + term) / 2 if number else term
    return total


@mistake(
    "Only the first and the last layer count.",
    "How many of the layers does your function read, where there are three?",
)
def balance_of_the_first_and_the_last(routing, cfg):
    return core_balance_term((routing[0], routing[-1]), cfg) if routing else torch.zeros(())


@mistake(
    "The term is 0 unless the load-balance loss is switched on. Each loss counts by itself.",
    "Which of the coefficients does your first `if` look at?",
)
def balance_only_with_switch(routing, cfg):
    term = core_balance_term(routing, cfg)
    return term if cfg.switch_coef else 0 * term


@mistake(
    "Only the first loss that is switched on counts: after one `if` the others are `elif`.",
    "Two losses may be switched on at once. Which branches run then?",
)
def balance_of_one_loss(routing, cfg):
    on = next((name for name in NAMES if getattr(cfg, name)), None)
    return core_balance_term(routing, replace(cfg, **{name: 0.0 for name in NAMES if name != on}))


@mistake(
    "The term is 0 unless all three losses are switched on. Each one counts by itself.",
    "Which word stands between your conditions, `and` or `or`?",
)
def balance_of_all_or_none(routing, cfg):
    term = core_balance_term(routing, cfg)
    return term if all(getattr(cfg, name) for name in NAMES) else 0 * term


@mistake(
    "The coefficients of the load-balance loss and of the sequence loss are exchanged.",
    "Set one coefficient at a time and compare with the loss of that name.",
)
def balance_with_coefficients_exchanged(routing, cfg):
    return core_balance_term(
        routing, replace(cfg, switch_coef=cfg.sequence_coef, sequence_coef=cfg.switch_coef)
    )


@mistake(
    "The coefficients of the sequence loss and of the z-loss are exchanged.",
    "Set one coefficient at a time and compare with the loss of that name.",
)
def balance_with_sequence_and_z_exchanged(routing, cfg):
    return core_balance_term(routing, replace(cfg, sequence_coef=cfg.z_coef, z_coef=cfg.sequence_coef))


@mistake(
    "The coefficients of the load-balance loss and of the z-loss are exchanged.",
    "Set one coefficient at a time and compare with the loss of that name.",
)
def balance_with_switch_and_z_exchanged(routing, cfg):
    return core_balance_term(routing, replace(cfg, switch_coef=cfg.z_coef, z_coef=cfg.switch_coef))


@mistake("The load-balance loss is left out.", "How many coefficients does your function read?")
def balance_without_switch(routing, cfg):
    return core_balance_term(routing, replace(cfg, switch_coef=0.0))


@mistake("The sequence loss is left out.", "How many coefficients does your function read?")
def balance_without_sequence(routing, cfg):
    return core_balance_term(routing, replace(cfg, sequence_coef=0.0))


@mistake(
    "The term has the wrong sign: training would make the balance worse.",
    "Should a loss be larger when it is bad?",
)
def balance_with_the_wrong_sign(routing, cfg):
    return -core_balance_term(routing, cfg)


@mistake(
    "`bias_update_rate` is used as a coefficient. It belongs to the bias update of notebook 04, not to the loss.",
    "Which of the four fields of BalanceConfig is no coefficient of a loss?",
)
def balance_with_the_bias_rate(routing, cfg):
    return core_balance_term(routing, replace(cfg, switch_coef=cfg.switch_coef + cfg.bias_update_rate))


@mistake(
    "The z-loss is added up over the layers; the other two are averaged.",
    "Which of your terms are inside the mean?",
)
def balance_summing_z(routing, cfg):
    z = core_balance_term(routing, replace(cfg, switch_coef=0.0, sequence_coef=0.0))
    return core_balance_term(routing, replace(cfg, z_coef=0.0)) + z * len(routing)


@mistake(
    "The load-balance loss alone is averaged over the layers; the other two are added up.",
    "Which of your terms does the division reach? `a + b / n` divides b alone.",
)
def balance_averaging_switch_alone(routing, cfg):
    return _averaging_alone("switch_coef", routing, cfg)


@mistake(
    "The sequence loss alone is averaged over the layers; the other two are added up.",
    "Which of your terms does the division reach? `a + b / n` divides b alone.",
)
def balance_averaging_sequence_alone(routing, cfg):
    return _averaging_alone("sequence_coef", routing, cfg)


@mistake(
    "The z-loss alone is averaged over the layers; the other two are added up.",
    "Which of your terms does the division reach? `a + b / n` divides b alone.",
)
def balance_averaging_z_alone(routing, cfg):
    return _averaging_alone("z_coef", routing, cfg)


def _averaging_alone(name, routing, cfg):
    others = core_balance_term(routing, replace(cfg, **{name: 0.0}))
    alone = {other: 0.0 for other in NAMES if other != name}
    return core_balance_term(routing, replace(cfg, **alone)) + others * len(routing)


@mistake(
    "The layers' facts are joined to one long batch: experts of the same number count as one. Each layer has "
    "losses of its own, and the term is their mean.",
    "Two layers that are uneven the opposite way: is their joint load even, and is each of them?",
)
def balance_of_joined_layers(routing, cfg):
    if not routing:
        return torch.zeros(())
    joined = type(routing[0])(*(torch.cat(parts, dim=0) for parts in zip(*routing)))
    return core_balance_term((joined,), cfg)


BALANCE_TERM = (
    balance_summed_over_layers,
    balance_of_the_last_layer,
    balance_without_coefficients,
    balance_without_z,
    balance_without_gradient,
    balance_with_switch_for_sequence,
    balance_averaged_over_terms,
    balance_without_reading_coefficients,
    balance_of_the_first_layer,
    balance_of_the_first_layer_divided,
    balance_as_a_running_mean,
    balance_of_the_first_and_the_last,
    balance_only_with_switch,
    balance_of_one_loss,
    balance_of_all_or_none,
    balance_with_coefficients_exchanged,
    balance_with_sequence_and_z_exchanged,
    balance_with_switch_and_z_exchanged,
    balance_without_switch,
    balance_without_sequence,
    balance_with_the_wrong_sign,
    balance_with_the_bias_rate,
    balance_summing_z,
    balance_averaging_switch_alone,
    balance_averaging_sequence_alone,
    balance_averaging_z_alone,
    balance_of_joined_layers,
    *DENSE,
)
