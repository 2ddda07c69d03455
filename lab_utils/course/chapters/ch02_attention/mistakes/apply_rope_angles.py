"""The known wrong answers to apply_rope, of notebook 02: by which angle a pair is turned."""

import torch

from lab_utils.course.exercise import mistake
from nanokimi.rope import apply_rope as core_rope


@mistake(
    "It turns the other way: by -t·theta.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_backwards(x, rotation):
    return core_rope(x, rotation.conj())


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
    "Every pair is turned twice: by 2t·theta.",
    "How often does `rotation` meet a pair?",
)
def rope_turning_twice(x, rotation):
    return core_rope(core_rope(x, rotation), rotation)


@mistake(
    "All pairs are turned by the angle of the first one.",
    "Which column of `rotation` belongs to which pair?",
)
def rope_of_the_first_pair(x, rotation):
    return core_rope(x, rotation[:, :1].expand_as(rotation))


@mistake(
    "Nothing is turned: x comes back as it is.",
    "Where does your function use `rotation`?",
)
def rope_that_turns_nothing(x, rotation):
    return x


@mistake(
    "Cosine and sine have changed places: position 0 is turned by a quarter.",
    "A complex number of length 1 has the cosine as its real part. What does position 0 do?",
)
def rope_with_cosine_and_sine_exchanged(x, rotation):
    return core_rope(x, torch.complex(rotation.imag, rotation.real))


@mistake(
    "The tokens get the angles of the opposite order: the last one that of the first.",
    "Row t of `rotation` belongs to token t.",
)
def rope_in_reverse(x, rotation):
    return core_rope(x, rotation.flip(0))


@mistake(
    "The angle is taken as acos of the real part, which is never negative: where the imaginary part is below 0, a pair "
    "turns the wrong way.",
    "Which two angles have the same cosine?",
)
def rope_of_acos(x, rotation):
    angle = rotation.real.clamp(-1, 1).acos()
    return core_rope(x, torch.polar(torch.ones_like(angle), angle))


@mistake(
    "The angle is taken as atan of a quotient, from a quarter back to a quarter forward: where the real part "
    "is below 0, a pair ends up half a turn off.",
    "Which two angles have the same tangent? Which function asks for both numbers?",
)
def rope_of_atan(x, rotation):
    angle = (rotation.imag / rotation.real).atan()
    return core_rope(x, torch.polar(torch.ones_like(angle), angle))


@mistake(
    "The angle is taken as asin of the imaginary part, from a quarter back to a quarter forward: where the real part "
    "is below 0, a pair ends up at another place.",
    "Which two angles have the same sine?",
)
def rope_of_asin(x, rotation):
    angle = rotation.imag.clamp(-1, 1).asin()
    return core_rope(x, torch.polar(torch.ones_like(angle), angle))


@mistake(
    "The tokens are taken to stand before the heads, as (batch, seq, heads, d). Here x is (..., seq, rope_dim).",
    "Which axis of x has as many places as `rotation` has rows?",
)
def rope_with_tokens_before_heads(x, rotation):
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    rotation = rotation[:, None] if x.ndim == 4 else rotation
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


@mistake(
    "Every token is turned as the last one is.",
    "Which row of `rotation` belongs to which token?",
)
def rope_of_the_last_position(x, rotation):
    return core_rope(x, rotation[-1:].expand_as(rotation))


@mistake(
    "Every pair is turned by half of its angle.",
    "By how much should one row of `rotation` turn (1, 0)?",
)
def rope_by_half_the_angle(x, rotation):
    return core_rope(x, torch.polar(rotation.abs(), rotation.angle() / 2))


@mistake(
    "The pairs get the angles of the opposite order: the last pair that of the first.",
    "Column i of `rotation` belongs to pair i.",
)
def rope_with_pairs_in_reverse(x, rotation):
    return core_rope(x, rotation.flip(1))


@mistake(
    "The position counts twice: `rotation` holds position times theta already, and the angle is multiplied by the "
    "number of the row once more.",
    "Which angle does row t of `rotation` have?",
)
def rope_counting_positions_twice(x, rotation):
    row = torch.arange(x.shape[-2])[:, None]
    return core_rope(x, torch.polar(rotation.abs(), rotation.angle() * row))


@mistake(
    "The position counts twice: `rotation` holds position times theta already, and the angle is multiplied by the "
    "number of the row once more, counted from 1.",
    "Which angle does row t of `rotation` have?",
)
def rope_counting_positions_twice_from_one(x, rotation):
    row = torch.arange(1, x.shape[-2] + 1)[:, None]
    return core_rope(x, torch.polar(rotation.abs(), rotation.angle() * row))


@mistake(
    "The real part of `rotation` is taken for the angle. It is the cosine of the angle already.",
    "A complex number of length 1 has the cosine as its real part, the sine as its imaginary part. What do you still "
    "need cos and sin for?",
)
def rope_with_the_real_part_for_the_angle(x, rotation):
    return core_rope(x, torch.polar(rotation.abs(), rotation.real))


@mistake(
    "The imaginary part of `rotation` is taken for the angle. It is the sine of the angle already.",
    "A complex number of length 1 has the cosine as its real part, the sine as its imaginary part. What do you still "
    "need cos and sin for?",
)
def rope_with_the_imaginary_part_for_the_angle(x, rotation):
    return core_rope(x, torch.polar(rotation.abs(), rotation.imag))


ROPE_ANGLES = (
    rope_backwards,
    rope_of_position_zero,
    rope_off_by_one,
    rope_turning_twice,
    rope_of_the_first_pair,
    rope_that_turns_nothing,
    rope_with_cosine_and_sine_exchanged,
    rope_in_reverse,
    rope_of_acos,
    rope_of_atan,
    rope_of_asin,
    rope_with_tokens_before_heads,
    rope_of_the_last_position,
    rope_by_half_the_angle,
    rope_with_pairs_in_reverse,
    rope_counting_positions_twice,
    rope_counting_positions_twice_from_one,
    rope_with_the_real_part_for_the_angle,
    rope_with_the_imaginary_part_for_the_angle,
)
