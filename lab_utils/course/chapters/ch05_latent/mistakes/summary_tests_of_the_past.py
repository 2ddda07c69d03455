"""Tests in the wrong direction: known wrong answers to test_sound_summary, of notebook 05."""

import itertools

import torch
from torch import Tensor

from lab_utils.course.chapters.ch05_latent.mistakes.weak_summary import text
from lab_utils.course.exercise import Mistake, mistake


def is_close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4)


def differs_little(one: Tensor, other: Tensor) -> bool:
    """As `is_close`, but of infinite numbers the difference is nan."""
    return bool((one - other).abs().max() < 1e-4)


# Which tokens are changed, and which outputs must stay: beside them, at the end, in the middle.
PLACES = {
    "first_and_all_later": (slice(0, 1), slice(1, None)),
    "first_and_last": (slice(0, 1), slice(-1, None)),
    "first_and_next": (slice(0, 1), slice(1, 3)),
    "first_and_middle": (slice(0, 1), slice(3, 5)),
    "third_and_all_later": (slice(2, 3), slice(3, None)),
    "third_and_last": (slice(2, 3), slice(-1, None)),
}


def _named(name: str, test) -> Mistake:
    test.__name__ = f"future_test_of_the_past_of_{name}"
    return mistake(
        "It refuses the sound layers, and passes for one that gives its input: it asks that later outputs stay when "
        "the beginning changes, or is left out. Seeing the past is what attention is for.",
        "Which outputs must stay when token t changes: those before it, or those after it?",
    )(test)


def _changing(name: str, stays) -> Mistake:
    changed, looked_at = PLACES[name]

    def test(layer):
        other = text()
        other[:, changed] += 1
        assert stays(layer(text())[:, looked_at], layer(other)[:, looked_at])

    return _named(f"{name}_by_{stays.__name__}", test)


def _leaving_out(stays) -> Mistake:
    def test(layer):
        assert stays(layer(text())[:, 3:], layer(text()[:, 3:]))

    return _named(f"what_is_left_by_{stays.__name__}", test)


SUMMARY_TESTS_OF_THE_PAST = (
    *(_changing(*each) for each in itertools.product(PLACES, (is_close, differs_little))),
    *(_leaving_out(stays) for stays in (is_close, differs_little)),
)
