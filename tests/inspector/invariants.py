"""The names of the invariants, and how the tests ask for them."""

import torch
from torch import nn

from lab_utils.inspector import balance, causality, parameters, routing, sequence
from lab_utils.inspector.inspect_model import Inspection, inspect_model
from tests.tiny import harsh_

CAUSALITY, LEARN = causality.NAME, parameters.NAME
PREFIX, CACHED = sequence.PREFIX, sequence.CACHED
ABSORBED, CACHE_SIZE = sequence.ABSORBED, sequence.CACHE_SIZE
K_EXPERTS, NO_DROPS = routing.K_EXPERTS, routing.NO_DROPS
BIAS, BALANCE = routing.BIAS, balance.NAME
ROUTING = {K_EXPERTS, NO_DROPS, BIAS, BALANCE}


def inspect_harsh(module: nn.Module, **options) -> Inspection:
    """The findings about a module with weights at which a mistake shows."""
    return inspect_model(harsh_(module, std=0.7), **options)


def names_that_apply(inspection: Inspection) -> set[str]:
    return {finding.name for finding in inspection.findings if finding.passed is not None}


def flatten(value):
    """Everything in nested containers as comparable leaves."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.tolist())
    if isinstance(value, dict):
        return [(key, flatten(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [flatten(item) for item in value]
    return value
