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
    "The way back is missing: the product stays in the hidden channels and never meets `down`.",
    "Which of the arguments does your function never read?",
)
def swiglu_without_down(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.silu(gate) * up


@mistake(
    "x is added to the result. The residual is the block's task, not the expert's.",
    "Where in down(silu(gate·x) * (up·x)) does x stand alone?",
)
def swiglu_with_a_residual(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return x + F.linear(F.silu(gate) * up, down)


@mistake(
    "`up` is not used: it is an ordinary MLP of the gate's half.",
    "What is multiplied by the activated gate?",
)
def swiglu_of_the_gate_alone(x, gate_up, down):
    gate, _ = halves(x, gate_up)
    return F.linear(F.silu(gate), down)


@mistake(
    "The gate is not used: it is an ordinary MLP of the half of `up`.",
    "What opens and closes the channels in your function?",
)
def swiglu_of_up_alone(x, gate_up, down):
    _, up = halves(x, gate_up)
    return F.linear(F.silu(up), down)


@mistake(
    "The activation comes after `down`; it belongs on the gate, before the product.",
    "In down(silu(gate·x) * (up·x)), what is inside the bracket of silu?",
)
def swiglu_with_silu_at_the_end(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.silu(F.linear(gate * up, down))


@mistake(
    "`down` is used as it is stored; `@` needs it the other way round.",
    "`down` has shape (d_model, width), and your product has width channels. What does F.linear do for you?",
)
def swiglu_with_down_as_stored(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return (F.silu(gate) * up) @ down


@mistake(
    "`gate_up` is used as it is stored; `@` needs it the other way round.",
    "`gate_up` has shape (2·width, d_model), and x has d_model channels. What does F.linear do for you?",
)
def swiglu_with_gate_up_as_stored(x, gate_up, down):
    gate, up = (x @ gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "The first axis of the product is cut in two: these are tokens. Gate and up are halves of the last axis.",
    "What does chunk cut when nobody gives it a dim?",
)
def swiglu_cutting_the_tokens(x, gate_up, down):
    gate, up = F.linear(x, gate_up).chunk(2)
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "`up` is not used: the gate is multiplied by its own activation.",
    "What is multiplied by silu(gate)?",
)
def swiglu_of_the_gate_twice(x, gate_up, down):
    gate, _ = halves(x, gate_up)
    return F.linear(F.silu(gate) * gate, down)


@mistake(
    "The gate is not used: `up` is multiplied by its own activation.",
    "What opens and closes the channels in your function?",
)
def swiglu_of_up_twice(x, gate_up, down):
    _, up = halves(x, gate_up)
    return F.linear(F.silu(up) * up, down)


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


SWIGLU = (
    swiglu_with_gate_and_up_exchanged,
    swiglu_with_silu_of_the_product,
    swiglu_without_silu,
    swiglu_with_sigmoid,
    swiglu_with_gelu,
    swiglu_with_alternating_rows,
    swiglu_with_a_sum,
    swiglu_that_overflows,
    swiglu_with_relu,
    swiglu_with_tanh,
    swiglu_with_silu_of_both,
    swiglu_by_glu,
    swiglu_without_down,
    swiglu_with_a_residual,
    swiglu_of_the_gate_alone,
    swiglu_of_up_alone,
    swiglu_with_silu_at_the_end,
    swiglu_with_down_as_stored,
    swiglu_with_gate_up_as_stored,
    swiglu_cutting_the_tokens,
    swiglu_of_the_gate_twice,
    swiglu_of_up_twice,
    swiglu_with_softmax,
    swiglu_with_softplus,
)
