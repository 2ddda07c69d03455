"""The known wrong answers to build_optimizers, of notebook 07, about the settings of the two optimizers."""

import torch

from lab_utils.course.chapters.ch07_muon.mistakes.build_optimizers import group_parameters
from lab_utils.course.exercise import mistake


@mistake(
    "Muon's own defaults are used where the configuration says otherwise (momentum, number of steps).",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_defaults(model, cfg):
    return group_parameters(model, cfg, momentum=0.95, ns_steps=5)


@mistake(
    "Norms and biases have the default decay of a constructor, not 0.",
    "What is the weight decay of the group with the parameters of one dimension?",
)
def optimizers_with_a_default_decay_for_norms(model, cfg):
    return group_parameters(model, cfg, decay_free=0.01)


@mistake(
    "Muon's momentum is its default, not cfg.muon_momentum.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_the_default_momentum(model, cfg):
    return group_parameters(model, cfg, momentum=0.95)


@mistake(
    "Muon's momentum is AdamW's beta1. It has a field of its own, muon_momentum.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_beta1_for_muon(model, cfg):
    return group_parameters(model, cfg, momentum=cfg.beta1)


@mistake(
    "Muon's number of steps is its default, not cfg.ns_steps.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_the_default_steps(model, cfg):
    return group_parameters(model, cfg, ns_steps=5)


@mistake(
    "Muon runs Newton-Schulz in bfloat16, its default. The docstring asks for float32 on a CPU.",
    "Which arguments does Muon get?",
)
def optimizers_in_bfloat16(model, cfg):
    return group_parameters(model, cfg, ns_dtype=torch.bfloat16)


@mistake(
    "Muon's number of steps and its number format are its defaults: not cfg.ns_steps, and not float32 on a CPU.",
    "Which arguments does Muon get?",
)
def optimizers_with_the_default_steps_and_format(model, cfg):
    return group_parameters(model, cfg, ns_steps=5, ns_dtype=torch.bfloat16)


@mistake(
    "Muon's weight decay is its default, not cfg.weight_decay.",
    "Which fields of OptimConfig does Muon need?",
)
def optimizers_with_muons_default_decay(model, cfg):
    return group_parameters(model, cfg, weight_decay=0.1)


@mistake(
    "Muon does not decay its matrices.",
    "Which weight decay does the docstring give to Muon?",
)
def optimizers_without_decay_in_muon(model, cfg):
    return group_parameters(model, cfg, weight_decay=0.0)


@mistake(
    "AdamW has torch's betas, 0.9 and 0.999, not those of cfg.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_torchs_betas(model, cfg):
    return group_parameters(model, cfg, adamw={"betas": (0.9, 0.999)})


@mistake(
    "beta1 and beta2 have changed places.",
    "Which of the two is the longer memory?",
)
def optimizers_with_betas_exchanged(model, cfg):
    return group_parameters(model, cfg, adamw={"betas": (cfg.beta2, cfg.beta1)})


@mistake(
    "AdamW has torch's learning rate, 0.001, not that of cfg.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_torchs_rate(model, cfg):
    return group_parameters(model, cfg, adamw={"lr": 1e-3})


@mistake(
    "AdamW has torch's weight decay, 0.01, not that of cfg.",
    "Which settings of OptimConfig should reach each optimizer, and each of its groups? Follow each one.",
)
def optimizers_with_torchs_decay(model, cfg):
    return group_parameters(model, cfg, adamw={"weight_decay": 0.01})


@mistake(
    "AdamW does not decay the tables, nor the matrices that it has.",
    "Which weight decay does the docstring give to them?",
)
def optimizers_without_decay_in_adamw(model, cfg):
    return group_parameters(model, cfg, adamw={"weight_decay": 0.0})


@mistake(
    "A tuple is returned. The docstring promises a list.",
    "What does `return a, b` make?",
)
def optimizers_in_a_tuple(model, cfg):
    return tuple(group_parameters(model, cfg))


OPTIMIZER_SETTINGS = (
    optimizers_with_defaults,
    optimizers_with_a_default_decay_for_norms,
    optimizers_with_the_default_momentum,
    optimizers_with_beta1_for_muon,
    optimizers_with_the_default_steps,
    optimizers_in_bfloat16,
    optimizers_with_the_default_steps_and_format,
    optimizers_with_muons_default_decay,
    optimizers_without_decay_in_muon,
    optimizers_with_torchs_betas,
    optimizers_with_betas_exchanged,
    optimizers_with_torchs_rate,
    optimizers_with_torchs_decay,
    optimizers_without_decay_in_adamw,
    optimizers_in_a_tuple,
)
