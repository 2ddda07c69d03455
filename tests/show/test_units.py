"""Numbers with their units: powers of ten, "B" for 10^9."""

import pytest

from lab_utils.show.table import count, memory, seconds


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (999, "999"),
        (1000, "1.00k"),
        (793_344, "793k"),
        (999_600, "1.00M"),
        (32.86e9, "32.9B"),
        (1.0264e12, "1.03T"),
    ],
)
def test_a_count_has_three_digits(x, text):
    assert count(x) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (512, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (2**20, "1 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (9.21e9, "9.2 GB"),
        (99.94e9, "99.9 GB"),
        (2.0528e12, "2,053 GB"),
    ],
)
def test_memory_is_in_powers_of_ten(n_bytes, text):
    assert memory(n_bytes) == text


@pytest.mark.parametrize(("x", "text"), [(0.04, "0.0"), (99.94, "99.9"), (99.96, "100"), (1234.5, "1,234")])
def test_seconds_have_a_decimal_below_a_hundred(x, text):
    assert seconds(x) == text
