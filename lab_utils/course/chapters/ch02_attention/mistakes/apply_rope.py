"""The known wrong answers to apply_rope, of notebook 02: pairs, signs and dtypes."""

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
    "The first number of each pair has a plus where a minus belongs, before b times the sine: lengths change.",
    "(a + ib)(c + is): i times i is -1. Which term of the first number does that change?",
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
    "The result stays in float32. It must come back in the dtype of x.",
    "Which dtype does x have, and which your result?",
)
def rope_that_stays_float32(x, rotation):
    return core_rope(x.float(), rotation)


@mistake(
    "The second number of each pair has a minus where a plus belongs: the pair is turned and mirrored.",
    "(a + ib)(c + is) = (ac - bs) + i(as + bc). Check both signs.",
)
def rope_with_a_minus_in_the_second(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real, rotation.imag
    return torch.stack([a * c - b * s, a * s - b * c], dim=-1).flatten(-2)


@mistake(
    "The new first number of a pair is used to compute the second one. Both need the old ones.",
    "Does `a` still hold what it held when you compute the second number?",
)
def rope_of_overwritten_numbers(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real, rotation.imag
    a = a * c - b * s
    return torch.stack([a, a * s + b * c], dim=-1).flatten(-2).to(x.dtype)


@mistake(
    "The result is complex; asked for are the real numbers, in pairs again.",
    "What turns complex numbers back into pairs of real ones?",
)
def rope_left_complex(x, rotation):
    return torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous()) * rotation


@mistake(
    "The pairs are still an axis of their own: the last two axes must become one.",
    "Which shape should the result have?",
)
def rope_left_in_pairs(x, rotation):
    return core_rope(x, rotation).unflatten(-1, (-1, 2))


@mistake(
    "The two numbers of a pair are exchanged before they are turned.",
    "Which of channels 2i and 2i+1 is a in a + ib?",
)
def rope_of_exchanged_numbers(x, rotation):
    return core_rope(x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2), rotation)


@mistake(
    "The two numbers of a pair come back exchanged.",
    "Which of channels 2i and 2i+1 gets the real part?",
)
def rope_giving_back_exchanged_numbers(x, rotation):
    return core_rope(x, rotation).unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


@mistake(
    "bfloat16 is turned in bfloat16, which keeps 8 significant bits: the angles lose most of their digits.",
    "In which dtype are your cosines and sines when x is bfloat16?",
)
def rope_in_bfloat16(x, rotation):
    a, b = x[..., 0::2], x[..., 1::2]
    c, s = rotation.real.to(x.dtype), rotation.imag.to(x.dtype)
    return torch.stack([a * c - b * s, a * s + b * c], dim=-1).flatten(-2)


@mistake(
    "No gradient goes back to x: what comes before would never learn.",
    "Is there a `no_grad`, a `detach` or a list of numbers in your function?",
)
def rope_without_gradient(x, rotation):
    return core_rope(x.detach(), rotation)


@mistake(
    "The pairs are cut as halves, (i, i + r/2), and put back as neighbours.",
    "Which two channels does rotation 0 turn, and where do they end up?",
)
def rope_from_halves_to_neighbours(x, rotation):
    a, b = x.float().chunk(2, dim=-1)
    return torch.view_as_real(torch.complex(a, b) * rotation).flatten(-2).to(x.dtype)


@mistake(
    "The rotation is added; a pair is turned by a product.",
    "(a + ib) e^(iα): which operation stands between the two?",
)
def rope_that_adds(x, rotation):
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs + rotation).flatten(-2).to(x.dtype)


@mistake(
    "The pairs are (i, i + r/2), and they are turned the other way: two things differ. Here neighbours are a pair.",
    "Which two channels does rotation 0 turn? And where does (1, 0) go with a quarter?",
)
def rope_on_halves_backwards(x, rotation):
    a, b = x.float().chunk(2, dim=-1)
    turned = torch.complex(a, b) * rotation.conj()
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)


@mistake(
    "torch has no complex numbers of bfloat16: such an x must become float32 first.",
    "What does the docstring say about bfloat16?",
)
def rope_that_takes_no_bfloat16(x, rotation):
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


@mistake(
    "Two layouts are mixed: the angles are laid out for neighbours, and the channels are mixed as halves.",
    "With which channel should channel 0 be mixed, and by which angle?",
)
def rope_of_halves_with_angles_of_neighbours(x, rotation):
    h = x.to(torch.promote_types(x.dtype, torch.float32))
    c, s = (part.repeat_interleave(2, dim=-1) for part in (rotation.real, rotation.imag))
    a, b = h.chunk(2, dim=-1)
    return (h * c + torch.cat([-b, a], dim=-1) * s).to(x.dtype)


@mistake(
    "Two layouts are mixed: the channels are mixed as neighbours, and the angles are laid out for halves.",
    "With which channel should channel 0 be mixed, and by which angle?",
)
def rope_of_neighbours_with_angles_of_halves(x, rotation):
    h = x.to(torch.promote_types(x.dtype, torch.float32))
    c, s = (part.repeat(1, 2) for part in (rotation.real, rotation.imag))
    turned = torch.stack([-h[..., 1::2], h[..., 0::2]], dim=-1).flatten(-2)
    return (h * c + turned * s).to(x.dtype)


@mistake(
    "The two numbers of a pair do not mix: the first is multiplied by the cosine, the second by the sine.",
    "Turn (1, 0) by a quarter: it should become (0, 1).",
)
def rope_without_cross_terms(x, rotation):
    by = torch.stack([rotation.real, rotation.imag], dim=-1).flatten(-2)
    return (x.float() * by.float()).to(x.dtype)


@mistake(
    "`rotation` is laid along another axis, as for tokens before heads: in x the tokens are the last axis but one, and "
    "there `rotation` has them too.",
    "Which axes of `x` and of `rotation` meet, counted from the right, before and after your `[:, None]`?",
)
def rope_along_another_axis(x, rotation):
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation[:, None, :]).flatten(-2).to(x.dtype)


ROPE_PAIRS = (
    rope_on_halves,
    rope_that_reflects,
    rope_left_in_halves,
    rope_without_sine,
    rope_that_stays_float32,
    rope_with_a_minus_in_the_second,
    rope_of_overwritten_numbers,
    rope_left_complex,
    rope_left_in_pairs,
    rope_of_exchanged_numbers,
    rope_giving_back_exchanged_numbers,
    rope_in_bfloat16,
    rope_without_gradient,
    rope_from_halves_to_neighbours,
    rope_that_adds,
    rope_on_halves_backwards,
    rope_that_takes_no_bfloat16,
    rope_of_halves_with_angles_of_neighbours,
    rope_of_neighbours_with_angles_of_halves,
    rope_without_cross_terms,
    rope_along_another_axis,
)
