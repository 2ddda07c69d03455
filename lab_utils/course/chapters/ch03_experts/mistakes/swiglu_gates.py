"""The known wrong answers to swiglu, of notebook 03: what goes through which activation."""

import torch
import torch.nn.functional as F

from lab_utils.course.chapters.ch03_experts.mistakes.swiglu import halves
from lab_utils.course.exercise import mistake


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
    "silu is written as z / (1 + exp(-z)). At z = -100, exp(100) is infinite in float32: the value is still 0, but "
    "the gradient is nan. One such token ends a training.",
    "torch has z · sigmoid(z) in a form that cannot overflow. What is it called?",
)
def swiglu_that_overflows(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate / (1 + (-gate).exp()) * up, down)


@mistake(
    "The gate goes through ReLU. That is ReGLU; silu is smooth, and a little below zero for negative numbers.",
    "What is silu(-1), and what does your activation give there?",
)
def swiglu_with_relu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.relu(gate) * up, down)


@mistake(
    "The gate goes through tanh; silu(z) is z · sigmoid(z).",
    "What is silu(10), and what is tanh(10)?",
)
def swiglu_with_tanh(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate.tanh() * up, down)


@mistake(
    "The activation goes over both halves; `up` is the content and stays as it is.",
    "In down(silu(gate·x) * (up·x)), what happens to up·x before the product?",
)
def swiglu_with_silu_of_both(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate) * F.silu(up), down)


@mistake(
    "The second half is the gate, and it goes through a sigmoid (so does torch's F.glu): two things differ.",
    "Which half should be the gate here, and through which function should it go?",
)
def swiglu_by_glu(x, gate_up, down):
    return F.linear(F.glu(F.linear(x, gate_up)), down)


@mistake(
    "The activation comes after `down`; it belongs on the gate, before the product.",
    "In down(silu(gate·x) * (up·x)), what is inside the bracket of silu?",
)
def swiglu_with_silu_at_the_end(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.silu(F.linear(gate * up, down))


@mistake(
    "The gate goes through a softmax over the channels; silu is a function of each number by itself.",
    "What is silu(10), whatever the other channels are?",
)
def swiglu_with_softmax(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate.softmax(dim=-1) * up, down)


@mistake(
    "The gate goes through softplus; silu(z) is z · sigmoid(z).",
    "What is silu(0), and what does your activation give there?",
)
def swiglu_with_softplus(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.softplus(gate) * up, down)


@mistake(
    "silu is written as z / (1 + exp(z)): the sign in the exponent is missing. A large z should come through.",
    "What is z · sigmoid(z) for z = 10, and what do you compute?",
)
def swiglu_with_the_sign_of_the_exponent(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate / (1 + gate.exp()) * up, down)


@mistake(
    "The gate goes through z · sigmoid(1.702 z), a stand-in for GELU; silu(z) is z · sigmoid(z).",
    "Which number stands in the sigmoid of silu?",
)
def swiglu_with_quick_gelu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate * torch.sigmoid(1.702 * gate) * up, down)


@mistake(
    "silu is written as z · exp(z) / (1 + exp(z)). At z = 100, exp(z) is infinite in float32, and inf / inf is nan.",
    "torch has z · sigmoid(z) in a form that cannot overflow. What is it called?",
)
def swiglu_that_overflows_upwards(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(gate * gate.exp() / (1 + gate.exp()) * up, down)


@mistake(
    "The gate goes through GELU, in the form with tanh; silu(z) is z · sigmoid(z).",
    "Compare your activation with z · sigmoid(z) at z = -1.",
)
def swiglu_with_gelu_by_tanh(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.gelu(gate, approximate="tanh") * up, down)


@mistake(
    "The gate goes through hardswish, which is made of straight pieces and a parabola; silu(z) is z · sigmoid(z).",
    "Compare your activation with z · sigmoid(z) at z = 4.",
)
def swiglu_with_hardswish(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.hardswish(gate) * up, down)


@mistake(
    "The gate goes through mish, z · tanh(softplus(z)); silu(z) is z · sigmoid(z).",
    "Compare your activation with z · sigmoid(z) at z = 1.",
)
def swiglu_with_mish(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.mish(gate) * up, down)


@mistake(
    "The gate goes through the square of ReLU; silu(z) is z · sigmoid(z).",
    "Compare your activation with z · sigmoid(z) at z = 2.",
)
def swiglu_with_squared_relu(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.relu(gate).square() * up, down)


@mistake(
    "The gate goes through the logarithm of the sigmoid; silu(z) is z · sigmoid(z).",
    "Which function of torch do you call, and what does it give for z = 10?",
)
def swiglu_with_logsigmoid(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.logsigmoid(gate) * up, down)


@mistake(
    "1 is added to the up-projection, as gpt-oss does it. Here silu(gate) meets the up-projection as it is.",
    "What should come out where the up-projection is 0?",
)
def swiglu_with_one_more_up(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate) * (up + 1), down)


SWIGLU_GATES = (
    swiglu_with_silu_of_the_product,
    swiglu_without_silu,
    swiglu_with_sigmoid,
    swiglu_with_gelu,
    swiglu_that_overflows,
    swiglu_with_relu,
    swiglu_with_tanh,
    swiglu_with_silu_of_both,
    swiglu_by_glu,
    swiglu_with_silu_at_the_end,
    swiglu_with_softmax,
    swiglu_with_softplus,
    swiglu_with_the_sign_of_the_exponent,
    swiglu_with_quick_gelu,
    swiglu_that_overflows_upwards,
    swiglu_with_gelu_by_tanh,
    swiglu_with_hardswish,
    swiglu_with_mish,
    swiglu_with_squared_relu,
    swiglu_with_logsigmoid,
    swiglu_with_one_more_up,
)
