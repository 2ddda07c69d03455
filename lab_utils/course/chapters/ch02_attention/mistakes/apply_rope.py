"""The known wrong answers to apply_rope, of notebook 02."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.rope import apply_rope as core_rope


@mistake(
    "The pairs are (i, i + r/2), the layout of Llama. Here neighbours are a pair: (2i, 2i+1).",
    "Which two channels does rotation 0 turn?",
)
def rope_on_halves(x, rotation):
    a, b = x.chunk(2, dim=-1)
    turned = torch.complex(a, b) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "It turns the other way: by -t·theta.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_backwards(x, rotation):
    return core_rope(x, rotation.conj())


@mistake(
    "The second part of the rotation has the wrong sign: lengths change.",
    "(a + ib)(c + is) = (ac - bs) + i(as + bc). Check both signs.",
)
def rope_that_reflects(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real, rotation.imag
    return torch.stack([a * c + b * s, a * s + b * c], dim=-1).flatten(-2)


@mistake(
    "The result has the first numbers of all pairs, then the second ones. They belong back in their places.",
    "In which channels do the two numbers of pair 0 end up?",
)
def rope_left_in_halves(x, rotation):
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * rotation
    return torch.cat([turned.real, turned.imag], dim=-1)


@mistake(
    "Only the cosine part is there: the two numbers of a pair do not mix.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_without_sine(x, rotation):
    return x * rotation.real.repeat_interleave(2, dim=-1)


@mistake(
    "Every token is turned as the first one is.",
    "Which row of `rotation` belongs to which token?",
)
def rope_of_position_zero(x, rotation):
    return core_rope(x, rotation[:1].expand_as(rotation))


@mistake(
    "Every token is turned by its neighbour's angle: the positions are off by one.",
    "Row t of `rotation` belongs to token t. Which row does token 0 get from you?",
)
def rope_off_by_one(x, rotation):
    return core_rope(x, rotation.roll(-1, dims=0))


@mistake(
    "The result stays in float32. It must come back in the dtype of x.",
    "Which dtype does x have, and which your result?",
)
def rope_that_stays_float32(x, rotation):
    return core_rope(x.float(), rotation)


APPLY_ROPE = (
    rope_on_halves,
    rope_backwards,
    rope_that_reflects,
    rope_left_in_halves,
    rope_without_sine,
    rope_of_position_zero,
    rope_off_by_one,
    rope_that_stays_float32,
)
