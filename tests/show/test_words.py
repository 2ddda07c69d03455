"""Nouns and articles that fit."""

import numpy as np
import pytest

from lab_utils.show.words import kind_of, plural


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "an int"),
        ([], "a list"),
        (None, "None"),
        (np.zeros(1), "an ndarray"),
        (UserWarning(), "a UserWarning"),
        (OSError(), "an OSError"),
    ],
)
def test_the_article_fits(value, expected):
    assert kind_of(value) == expected


def test_one_is_no_plural():
    assert [plural(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]
    assert [plural(n, "entry", "entries") for n in (1, 2)] == ["1 entry", "2 entries"]
