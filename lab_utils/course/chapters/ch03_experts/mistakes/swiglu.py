"""The known wrong answers to swiglu, of notebook 03: its halves, its products and `down`."""

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
    "The way back is missing: the product stays in the hidden channels and never meets `down`.",
    "Which of the arguments makes no difference in your function?",
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
    "`up` makes no difference: it is an ordinary MLP of the gate's half.",
    "What is multiplied by the activated gate?",
)
def swiglu_of_the_gate_alone(x, gate_up, down):
    gate, _ = halves(x, gate_up)
    return F.linear(F.silu(gate), down)


@mistake(
    "The gate makes no difference: it is an ordinary MLP of the half of `up`.",
    "What opens and closes the channels in your function?",
)
def swiglu_of_up_alone(x, gate_up, down):
    _, up = halves(x, gate_up)
    return F.linear(F.silu(up), down)


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
    "`up` makes no difference: the gate is multiplied by its own activation.",
    "What is multiplied by silu(gate)?",
)
def swiglu_of_the_gate_twice(x, gate_up, down):
    gate, _ = halves(x, gate_up)
    return F.linear(F.silu(gate) * gate, down)


@mistake(
    "The gate makes no difference: `up` is multiplied by its own activation.",
    "What opens and closes the channels in your function?",
)
def swiglu_of_up_twice(x, gate_up, down):
    _, up = halves(x, gate_up)
    return F.linear(F.silu(up) * up, down)


@mistake(
    "The product is cut at d_model channels; gate and up are halves of it, `width` channels each.",
    "How many rows of `gate_up` belong to the gate? Which argument knows it?",
)
def swiglu_cut_at_d_model(x, gate_up, down):
    h, d = x @ gate_up.T, x.shape[-1]
    return (F.silu(h[..., :d]) * h[..., d : 2 * d]) @ down.T


@mistake(
    "Gate and up are every other row, the up-projection first. The matrix has all gate rows first, then all up rows.",
    "Print the first column of `gate_up` and mark which rows you use for the gate.",
)
def swiglu_with_alternating_rows_exchanged(x, gate_up, down):
    up, gate = F.linear(x, gate_up[0::2]), F.linear(x, gate_up[1::2])
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "`up` comes through a second time, past the gate: a channel that is closed lets it through.",
    "If the gate is closed (0), how much of the up-projection should come through?",
)
def swiglu_with_up_past_the_gate(x, gate_up, down):
    gate, up = halves(x, gate_up)
    return F.linear(F.silu(gate) * up + up, down)


@mistake(
    "The tokens come back as one list: the axes of x before the last one are lost, or one is added.",
    "Which shape has x, and which should the result have?",
)
def swiglu_of_a_list_of_tokens(x, gate_up, down):
    gate, up = halves(x.reshape(-1, x.shape[-1]), gate_up)
    return F.linear(F.silu(gate) * up, down)


@mistake(
    "The gate is cut off after d_model channels, and all others are taken for `up`; each of them has `width` channels.",
    "How many rows of `gate_up` belong to the gate? Which argument knows it?",
)
def swiglu_cut_once_at_d_model(x, gate_up, down):
    h, d = x @ gate_up.T, x.shape[-1]
    return (F.silu(h[..., :d]) * h[..., d:]) @ down.T


@mistake(
    "The products are taken with columns, `W @ x.T`: for a list of tokens the result is (d_model, tokens), and a "
    "batch of texts has no such product.",
    "Which product has one row per token before it and after it: x @ W.T, or W @ x.T?",
)
def swiglu_of_columns(x, gate_up, down):
    width = len(gate_up) // 2
    gate, up = gate_up[:width] @ x.T, gate_up[width:] @ x.T
    return down @ (F.silu(gate) * up)


SWIGLU_PRODUCTS = (
    swiglu_with_gate_and_up_exchanged,
    swiglu_with_alternating_rows,
    swiglu_with_a_sum,
    swiglu_without_down,
    swiglu_with_a_residual,
    swiglu_of_the_gate_alone,
    swiglu_of_up_alone,
    swiglu_with_down_as_stored,
    swiglu_with_gate_up_as_stored,
    swiglu_cutting_the_tokens,
    swiglu_of_the_gate_twice,
    swiglu_of_up_twice,
    swiglu_cut_at_d_model,
    swiglu_with_alternating_rows_exchanged,
    swiglu_with_up_past_the_gate,
    swiglu_of_a_list_of_tokens,
    swiglu_cut_once_at_d_model,
    swiglu_of_columns,
)
