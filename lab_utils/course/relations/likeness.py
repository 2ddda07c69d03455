"""How a wrong value is related to the right one: half as large, its logarithm, transposed, moved by one place.

What is said of the pairs of right and wrong values is computed on each of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lab_utils.course.relations.arrangement import OTHER_SHAPE, SAME_SHAPE
from lab_utils.course.relations.pairs import ENOUGH, Pair, all_same, as_tensors, has_flags, same
from lab_utils.course.relations.places import PLACES
from lab_utils.course.relations.rounding import format_only, rounded_on_the_way


def liken(pairs: Sequence[Pair], plainly: bool = False) -> str:
    """What is true of every wrong value beside the right one, as a clause; empty where nothing is.

    `plainly` asks only how the numbers are related, not where they stand.
    """
    tensors = [pair for each in pairs if (pair := as_tensors(each)) is not None]
    if len(tensors) < len(pairs):
        return _of_lists(pairs)
    alike = all(pair.right.shape == pair.got.shape for pair in tensors)
    if alike and any(pair.is_near for pair in tensors):
        # Rounding may look like any relation. Where the wrong numbers stand is seen of long ones alone.
        short = any(pair.short for pair in tensors)
        looks = (format_only, rounded_on_the_way) if short else (format_only, _constant, *PLACES)
    else:
        looks = (NUMBERS if plainly else NUMBERS + SAME_SHAPE + PLACES) if alike else OTHER_SHAPE
    return next((says for look in looks if (says := look(tensors))), "")


def _constant(pairs: Sequence[Pair]) -> str:
    """All numbers the same: nothing was computed, or it was lost."""
    if sum(pair.got.numel() for pair in pairs) < ENOUGH:
        return ""
    values = torch.cat([pair.got.double().flatten() for pair in pairs])
    if not len(values) or not bool((values == values[0]).all() or values.isnan().all()):
        return ""
    if has_flags(pairs[0]):
        return f"every entry is {bool(pairs[0].got.flatten()[0])}"
    return f"every number is {values[0].item() + 0.0:.4g}"


def _factor(pairs: Sequence[Pair]) -> str:
    """One factor for all numbers of an input."""
    factors = []
    for pair in pairs:
        if has_flags(pair) or not (pair.right.abs() > 1e-9).any() or not pair.got.isfinite().all():
            return ""
        largest = pair.right.abs().flatten().argmax()
        factor = float(pair.got.flatten()[largest] / pair.right.flatten()[largest])
        if not same(pair.right * factor, pair.got, pair.room) or abs(factor) < 1e-9:
            return ""
        factors.append(factor)
    if any(math.isclose(factor, 1, rel_tol=1e-3) for factor in factors):
        return ""
    # The number of fewest rounded digits says what it is.
    sure = [factor for factor, pair in zip(factors, pairs, strict=True) if not pair.short]
    if any(pair.short for pair in pairs):
        if not sure or not _all_close(sure, [sure[0]] * len(sure)):
            return ""
        if not all(math.isclose(f, sure[0], rel_tol=pair.room) for f, pair in zip(factors, pairs)):
            return ""
        return _say_factor(sure[0]) if _n_numbers(pairs) >= ENOUGH else ""
    if _all_close(factors, [factors[0]] * len(factors)):
        return _say_factor(factors[0]) if _n_numbers(pairs) >= ENOUGH else ""
    if name := _named(factors, pairs, _FACTORS):
        return f"every number is {name} what it should be"
    if sum(pair.right.numel() - 1 for pair in pairs) < ENOUGH:
        return ""
    written = list(dict.fromkeys(f"{factor:.4g}" for factor in factors))
    listed = ", ".join(written[:3]) + ", ..." * (len(written) > 3)
    return f"all numbers of an input have one wrong factor, not the same on every input ({listed})"


def _n_numbers(pairs: Sequence[Pair]) -> int:
    """How many different numbers other than 0 there should be."""
    return len({round(x, 9) for pair in pairs for x in pair.right.flatten().tolist() if abs(x) > 1e-9})


def _all_close(ones: Sequence[float], others: Sequence[float]) -> bool:
    return all(math.isclose(one, other, rel_tol=1e-4) for one, other in zip(ones, others, strict=True))


def _say_factor(factor: float) -> str:
    if math.isclose(factor, -1, rel_tol=1e-4):
        return "every number has the wrong sign"
    known = {0.5: "half of", 2.0: "twice", 1 / math.log(2): "1/log(2) times", math.log(2): "log(2) times"}
    known |= {2 * math.pi: "2π times", 0.5 / math.pi: "1/(2π) times", math.pi: "π times"}
    near = next((text for value, text in known.items() if math.isclose(factor, value, rel_tol=1e-4)), "")
    return f"every number is {near or f'{factor:.4g} times'} what it should be"


Forms = dict[str, Callable[[float], float]]
_FACTORS: Forms = {
    "`{}` times": lambda n: n,
    "1/`{}` of": lambda n: 1 / n,
    "sqrt(`{}`) times": math.sqrt,
    "1/sqrt(`{}`) of": lambda n: n**-0.5,
    "`{}`² times": lambda n: n**2,
}
_OFFSETS: Forms = {
    "`{}` too large": lambda n: n,
    "`{}` too small": lambda n: -n,
    "log(`{}`) too large": math.log,
    "log(`{}`) too small": lambda n: -math.log(n),
}


def _named(found: Sequence[float], pairs: Sequence[Pair], forms: Forms) -> str:
    """One number for each input by the name of a number of its arguments, where both change together."""
    for name in dict.fromkeys(name for pair in pairs for name in pair.sizes):
        sizes = [pair.sizes.get(name, 0) for pair in pairs]
        if min(sizes) <= 0 or len(set(sizes) - {1}) < 2:
            continue
        for form, of in forms.items():
            if _all_close([of(size) for size in sizes], found):
                return form.format(name)
    return _named_by_two(found, pairs) if forms is _FACTORS else ""


def _named_by_two(found: Sequence[float], pairs: Sequence[Pair]) -> str:
    """One factor for each input as the product or the quotient of two sizes, where no other two sizes explain it."""
    if len({round(factor, 4) for factor in found}) < ENOUGH:
        return ""
    sizes: dict[tuple[float, ...], str] = {}  # of those that are the same on every input the first
    for name in dict.fromkeys(name for pair in pairs for name in pair.sizes):
        values = tuple(pair.sizes.get(name, 0) for pair in pairs)
        if all(type(value) is int and value > 0 for value in values) and len(set(values)) > 1:
            sizes.setdefault(values, name)
    fits = []
    for (ones, one), (others, other) in itertools.permutations(sizes.items(), 2):
        if one < other and _all_close([a * b for a, b in zip(ones, others)], found):
            fits.append(f"`{one}` · `{other}` times")
        if _all_close([a / b for a, b in zip(ones, others)], found):
            fits.append(f"`{one}`/`{other}` times")
    return fits[0] if len(fits) == 1 else ""


def _offset(pairs: Sequence[Pair]) -> str:
    """One number that is added to all numbers of an input."""
    offsets = []
    for pair in pairs:
        if has_flags(pair) or not pair.got.numel():
            return ""
        offset = float((pair.got - pair.right).flatten()[0])
        if not math.isfinite(offset) or not same(pair.right + offset, pair.got, pair.room):
            return ""
        offsets.append(offset)
    if min(map(abs, offsets)) < 1e-3:
        return ""
    if _all_close(offsets, [offsets[0]] * len(offsets)):
        size = "large" if offsets[0] > 0 else "small"
        return f"every number is {abs(offsets[0]):.4g} too {size}" if _n_numbers(pairs) >= ENOUGH else ""
    name = _named(offsets, pairs, _OFFSETS)
    return f"every number is {name}" if name else ""


_WITH_ARGUMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "it is `{}` as it came": lambda x, arg: arg,
    "it is the negative of `{}`": lambda x, arg: -arg,
    "`{}` is added to what is right": lambda x, arg: x + arg,
    "`{}` is subtracted from what is right": lambda x, arg: x - arg,
    "what is right is multiplied by `{}`": lambda x, arg: x * arg,
    "what is right is divided by `{}`": lambda x, arg: x / arg,
}


def _with_argument(pairs: Sequence[Pair]) -> str:
    """An argument that was returned, added or multiplied."""
    for name in pairs[0].tensors:
        if all(name in pair.tensors and pair.tensors[name].shape == pair.right.shape for pair in pairs):
            for says, of in _WITH_ARGUMENTS.items():
                made = [of(pair.right, pair.tensors[name].double()) for pair in pairs]
                if all(same(m, p.got, p.room) for m, p in zip(made, pairs)) and _n_numbers(pairs) >= ENOUGH:
                    return says.format(name)
    return ""


_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "True and False are exchanged": lambda x: ~x if x.dtype == torch.bool else x.new_full((), torch.nan),
    "every number is 1 minus what it should be": lambda x: 1 - x,
    "every number is the square of what it should be": torch.square,
    "every number is the square root of what it should be": torch.sqrt,
    "every number is 1 divided by what it should be": torch.reciprocal,
    "every number is the logarithm of what it should be": torch.log,
    "every number is the logarithm to base 2 of what it should be": torch.log2,
    "every number is e to the power of what it should be": torch.exp,
    "every number is e to the power of minus what it should be": lambda x: torch.exp(-x),
    "every number is 1/sqrt of what it should be": torch.rsqrt,
    "the sign of every number is lost": torch.abs,
    "negative numbers are 0, and all others right": torch.relu,
    "positive numbers are 0, and all others right": lambda x: -torch.relu(-x),
    "every number is rounded to a whole one": torch.round,
    "every number is rounded down to a whole one": torch.floor,
    "every number is the sigmoid of what it should be": torch.sigmoid,
    "it is the softmax of what it should be": lambda x: x.softmax(-1),
    "it is the log-softmax of what it should be": lambda x: x.log_softmax(-1),
    "each number is the sum of the right ones up to its place": lambda x: x.cumsum(-1),
    "the numbers above the diagonal are 0, and all others right": torch.tril,
    "the numbers below the diagonal are 0, and all others right": torch.triu,
}


def _mapped(pairs: Sequence[Pair]) -> str:
    flags = has_flags(pairs[0])
    maps = itertools.islice(_MAPS.items(), 1) if flags else itertools.islice(_MAPS.items(), 1, None)
    return next((says for says, of in maps if all_same(pairs, of)), "")


# ---------------------------------------------------------------- lists and texts

LONGEST_TEXTS = 100  # letters of two texts side by side


def _is_plain(value: Any) -> bool:
    """Whether it is a text or a list that can be compared: of numbers, texts, or lists of them."""
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(x, int | float | str) or _is_plain(x) for x in value)
    )


def _other_order(pairs: Sequence[Pair]) -> str:
    """Lists of tensors whose entries are right ones in another order."""
    reversed_, moved = [], []
    for pair in pairs:
        right, got = pair.right, pair.got
        if not isinstance(right, list) or not isinstance(got, list) or len(right) != len(got) or not right:
            return ""
        if not all(isinstance(each, Tensor) for each in [*right, *got]):
            return ""
        found = [[j for j, each in enumerate(right) if _equal(each, x)] for x in got]
        reversed_.append(all(len(got) - 1 - i in places for i, places in enumerate(found)))
        # Each of them somewhere, and none of them twice.
        moved.append(sorted(j for places in found for j in places) == list(range(len(right))))
    if all(reversed_):
        return "the right entries stand in the opposite order"
    return "the right entries stand in another order" if all(moved) else ""


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and same(one, other)


def _of_lists(pairs: Sequence[Pair]) -> str:
    """What holds for texts and lists."""
    if len({(repr(pair.right), repr(pair.got)) for pair in pairs}) == 1 and all(
        isinstance(value, str) for value in (pairs[0].right, pairs[0].got)
    ):
        says = f"{pairs[0].got!r} comes where {pairs[0].right!r} should"
        return says if len(says) <= LONGEST_TEXTS else ""  # the panel shows long ones already
    if says := _other_order(pairs):
        return says
    if not all(type(p.right) is type(p.got) and _is_plain(p.right) and _is_plain(p.got) for p in pairs):
        return ""
    if all(len(p.got) == 0 < len(p.right) for p in pairs):
        return "nothing is there"
    if any(isinstance(p.right, str) for p in pairs):  # the letters of a text are no entries
        return ""
    looks: dict[str, Callable[[Any, Any], bool]] = {
        "the last entry is missing, and all others are right": lambda right, got: got == right[:-1] != right,
        "the first entry is missing, and all others are right": lambda right, got: got == right[1:] != right,
        "after the right entries come others": lambda right, got: got[: len(right)] == right != got,
        "it ends too early, and is right until then": lambda right, got: right[: len(got)] == got != right,
        "before the right entries come others": lambda right, got: got[-len(right) :] == right != got,
        "the right entries stand in the opposite order": lambda right, got: got == right[::-1] != right,
        "the first entry is right, and all after it differ or are missing": lambda right, got: (
            len(right) > 2 and right[:1] == got[:1] and not any(a == b for a, b in zip(right[1:], got[1:]))
        ),
    }  # fmt: skip
    return next((says for says, holds in looks.items() if all(holds(p.right, p.got) for p in pairs)), "")


NUMBERS = (format_only, _constant, _factor, _offset, _with_argument, _mapped)
