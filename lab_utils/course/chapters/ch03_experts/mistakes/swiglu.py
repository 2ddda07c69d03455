"""The known wrong answers to swiglu, of notebook 03."""

import torch.nn.functional as F

from lab_utils.course.exercise import mistake


def halves(x, gate_up):
    return F.linear(x, gate_up).chunk(2, dim=-1)


@mistake(
    "Gate and up are exchanged: the activation goes over the up-projection.",
    "Which rows come first in `gate_up`, and which half goes through silu?",
)
def swiglu_with_gate_and_up_exchanged(x, gate_up, down):
    up, gate = halves(x, gate_up)
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "The activation goes over the product; it belongs on the gate alone, before the product.",
    "In down(silu(gate·x) * (up·x)), where does the bracket of silu close?",
)
def swiglu_with_silu_of_the_product(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate * up), down)


@mistake(
    "There is no activation: the gate multiplies as it is.",
    "Compute it for a gate of -10 by hand. Should such a gate let much through?",
)
def swiglu_without_silu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate * up, down)


@mistake(
    "The gate goes through a sigmoid. That is GLU (Dauphin et al. 2017); silu(z) is z · sigmoid(z).",
    "What is silu(10), and what is sigmoid(10)?",
)
def swiglu_with_sigmoid(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate.sigmoid() * up, down)


@mistake(
    "The gate goes through GELU. That is GEGLU: close, but another function.",
    "Compare your activation with z · sigmoid(z) at z = -1.",
)
def swiglu_with_gelu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.gelu(gate) * up, down)


@mistake(
    "Gate and up are taken as every other row. The matrix has all gate rows first, then all up rows.",
    "Print the first column of `gate_up` and mark which rows you use for the gate.",
)
def swiglu_with_alternating_rows(x, gate_up, down):
    gate, up = F.linear(x, gate_up[0::2]), F.linear(x, gate_up[1::2])
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "Gate and up are added instead of multiplied.",
    "If the gate is closed (0), how much of the up-projection should come through?",
)
def swiglu_with_a_sum(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate) + up, down)


@mistake(
    "silu is written as z / (1 + exp(-z)). At z = -100, exp(100) is infinite in float32: the value is still right, 0, "
    "but the gradient is nan. One such token ends a training.",
    "torch has z · sigmoid(z) in a form that cannot overflow. What is it called?",
)
def swiglu_that_overflows(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate / (1 + (-gate).exp()) * up, down)


SWIGLU = (
    swiglu_with_gate_and_up_exchanged,
    swiglu_with_silu_of_the_product,
    swiglu_without_silu,
    swiglu_with_sigmoid,
    swiglu_with_gelu,
    swiglu_with_alternating_rows,
    swiglu_with_a_sum,
    swiglu_that_overflows,
)
