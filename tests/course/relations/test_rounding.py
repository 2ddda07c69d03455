"""Where rounding alone is what differs, no other relation may be said to hold: it would be one by accident."""

import dataclasses
import re
from functools import cache

import pytest
import torch
from torch import Tensor

from lab_utils.course.attempt import Outcome
from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.exercise import Case
from lab_utils.course.formats import has_bfloat16
from lab_utils.course.judge import AnswerKey, _relate, judge
from lab_utils.course.relations.likeness import liken
from lab_utils.course.relations.pairs import Pair
from lab_utils.course.relations.standins import StandIns
from nanokimi.norm import RMSNorm

ROUNDING = "the numbers are off by at most "
RELATION = re.compile("times what|of what|factor|added|mean|sum|places|order|only their format|every number")


def step(x: Tensor, which: Tensor) -> Tensor:
    """`x` in bfloat16, the entries that are chosen by -1 and 1 one step off."""
    bits = x.bfloat16().contiguous().view(torch.int16)
    moved = torch.where(bits & 0x7FFF == 0, 0, which.to(torch.int16))  # a zero stays one
    return (bits + moved).view(torch.bfloat16)


def some_off(x: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return step(x, torch.randint(-1, 2, x.shape, generator=generator))


def all_off(x: Tensor) -> Tensor:
    return step(x, torch.ones(x.shape))


def rows_off(x: Tensor) -> Tensor:
    """Every second number along the last axis one step up, as a factor that was rounded."""
    return step(x, (torch.arange(x.shape[-1]) % 2).expand(x.shape)) if x.ndim else all_off(x)


OFF = {
    "some": lambda x: some_off(x, 0),
    "others": lambda x: some_off(x, 1),
    "all": all_off,
    "every second": rows_off,
    "and stays float32": lambda x: some_off(x, 2).float(),
}


@cache
def key_of(name: str) -> AnswerKey:
    bare = dataclasses.replace(find(name), mistakes=())
    key = AnswerKey(bare)
    key.stand_ins = StandIns(bare, key.cases, seconds=0.0)
    return key


def is_short(value) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


def round_part(off: str, case: Case, right):
    """A part with numbers that were rounded: where the case asks for bfloat16, or comes in it."""
    if is_short(right):
        return OFF[off](right)
    floats = isinstance(right, Tensor) and right.is_floating_point()
    return some_off(right, 3).to(right.dtype) if floats and has_bfloat16(case) else right


@pytest.mark.parametrize("off", OFF)
def test_rounding_is_all_that_is_said_of_rounding(off: str):
    """Of every exercise with bfloat16: right everywhere, and there a step of the format off."""
    tried = set()
    for exercise in all_exercises().values():
        if exercise.is_hunt or not any(map(has_bfloat16, exercise.cases())):
            continue
        key, outcomes = key_of(exercise.name), []
        for number, case in enumerate(key.cases):
            right = key.expected(number)
            outcomes.append(Outcome({name: round_part(off, case, part) for name, part in right.items()}))
        strict = any(is_short(part) for n in key.order for part in key.expected(n).values())
        for says in _relate(key, outcomes):
            # On which inputs it is right, and which entries differ, is seen and not concluded.
            seen = says.startswith("It is ") or (not strict and not RELATION.search(says))
            assert ROUNDING in says or "few digits" in says or seen, (exercise.name, says)
        tried.add(exercise.name)
    assert {"RMSNorm", "apply_rope"} < tried


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("shapes", [((4, 32),), ((2, 1), (3, 5)), ((1, 8), (2, 3, 4)), ((16,), (40,))])
def test_no_relation_of_rounded_numbers_by_accident(off, shapes):
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        rights = [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]
        says = liken([Pair(right, OFF[off](right)) for right in rights])
        assert not says or ROUNDING in says, says


@pytest.mark.parametrize("size", [1e-5, 4e-5, 7e-5])
def test_no_relation_of_nearly_right_numbers_in_float32(size):
    """Beyond the tolerance of a check, and as near as sums in another order: an offset, or a factor, is none there."""
    generator = torch.Generator().manual_seed(0)
    right = torch.rand(6, 8, generator=generator) + 1
    noise = 1 + size * (torch.rand(6, 8, generator=generator) - 0.5)
    says = liken([Pair(right, right * noise, tolerance=1e-6)])
    assert not any(word in says for word in ("factor", "added", "times", "places")), says


def test_a_real_factor_is_still_said_in_a_short_format():
    right = torch.linspace(0.5, 3.0, 12)
    pairs = [Pair(right, 3 * right), Pair(right.bfloat16(), (3 * right).bfloat16())]
    assert liken(pairs) == "every number is 3 times what it should be"


def test_places_are_said_in_a_short_format_where_the_bits_are_the_same():
    right = torch.linspace(-3.0, 3.0, 12).bfloat16()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert liken([Pair(right, right[order])]) == "the right numbers stand at other places"
    assert "places" not in liken([Pair(right, all_off(right[order]))])


def test_only_the_format_is_wrong_where_the_check_would_take_the_numbers_in_the_right_one():
    right = torch.linspace(0.5, 3.0, 40)
    only = "the numbers are right, and only their format is not"
    assert liken([Pair(right.bfloat16(), right)]) == only
    assert liken([Pair(right, right.double())]) == only
    says = liken([Pair(right.bfloat16(), all_off(right).float())])
    assert says.startswith(f"besides the format, {ROUNDING}") and only not in says
    assert only not in liken([Pair(right, right.bfloat16())])


def test_whole_numbers_are_not_rounded():
    right = torch.tensor([100_000, 200_000, 300_000, 400_000])
    assert liken([Pair(right, right + 1)]) == "every number is 1 too large"


class NormOfAMeanInBfloat16(RMSNorm):
    def forward(self, x):
        size = x.pow(2).mean(-1, keepdim=True).float() + self.eps
        return (self.weight * x.float() * torch.rsqrt(size)).to(x.dtype)


class NormOfARoundedGain(RMSNorm):
    def forward(self, x):
        h = x.float()
        h = (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)
        return self.weight.to(x.dtype) * h


def rope_of_rounded_products(x, rotation):
    cos, sin = rotation.real, rotation.imag
    a, b = x[..., 0::2], x[..., 1::2]
    first = (a * cos).to(x.dtype) - (b * sin).to(x.dtype)
    second = (a * sin).to(x.dtype) + (b * cos).to(x.dtype)
    return torch.stack([first, second], dim=-1).flatten(-2)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("RMSNorm", NormOfAMeanInBfloat16),
        ("RMSNorm", NormOfARoundedGain),
        ("apply_rope", rope_of_rounded_products),
    ],
)
def test_an_answer_that_rounds_on_the_way(name, answer):
    found = judge(key_of(name).exercise, answer, key=key_of(name)).relations
    assert found and ROUNDING in found[0], found
