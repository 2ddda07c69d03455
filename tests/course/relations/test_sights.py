"""The sizes that a sentence may name are those that the learner's function is called with."""

import contextlib
import functools
import inspect

import pytest
import torch

from lab_utils.course.chapters import all_exercises, find
from lab_utils.course.relations.sights import numbers_of

FUNCTIONS = [e for e in all_exercises().values() if not e.is_hunt and not isinstance(e.core, type)]


def tensors_of(value, name):
    """Every tensor in an argument, by its name."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    fields = getattr(value, "_fields", ())
    return {f"{name}.{f}": getattr(value, f) for f in fields if isinstance(getattr(value, f), torch.Tensor)}


@pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda e: e.name)
def test_a_function_is_called_with_the_sizes_that_are_named(exercise):
    seen = []

    @functools.wraps(exercise.core)
    def spied(*args, **kwargs):
        given = inspect.signature(exercise.core).bind(*args, **kwargs).arguments
        seen.append({n: v.shape for name, x in given.items() for n, v in tensors_of(x, name).items()})
        return exercise.core(*args, **kwargs)

    for case in exercise.cases():
        seen.clear()
        with contextlib.suppress(Exception):
            exercise.observe(spied, *case.fresh_args())
        for key, number in numbers_of(exercise, case).items():
            name, _, axis = key.partition(".shape[")
            if axis.rstrip("]").lstrip("-").isdigit():
                shapes = [call[name] for call in seen if name in call]
                assert {shape[int(axis.rstrip("]"))] for shape in shapes} <= {number}, (case.says, key)


@pytest.mark.parametrize(
    ("name", "with_a_cache", "pieces"),
    [
        ("MultiHeadLatentAttention", "one token after forty, with a cache", "x.shape[-2]"),
        ("MultiHeadLatentAttention", "with a cache, three tokens and then one at a time", "x.shape[-2]"),
        ("Kimi", "with a cache, piece by piece", "tokens.shape[-1]"),
    ],
)
def test_a_text_that_comes_in_pieces_has_no_length_to_name(name, with_a_cache, pieces):
    (case,) = [case for case in find(name).cases() if case.says == with_a_cache]
    found = numbers_of(find(name), case)
    assert pieces not in found and f"{pieces.partition('.')[0]}.shape[0]" in found


def test_a_text_that_comes_whole_has_its_length():
    exercise = find("MultiHeadLatentAttention")
    (case,) = [case for case in exercise.cases() if case.says == "two heads, four tokens"]
    assert numbers_of(exercise, case)["x.shape[-2]"] == 4
