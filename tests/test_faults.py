"""A sample of every fault that `make faults` makes at the counts of a release."""

import pytest

from benchmarks.faults.__main__ import find_kinds


@pytest.mark.parametrize("name", sorted(find_kinds()))
def test_a_sample_is_survived(name, tmp_path):
    kind = find_kinds()[name]
    outcome = kind.run(kind.SAMPLE, 1, tmp_path, lambda done: None)
    assert outcome.lost == []
    assert outcome.survived == outcome.tries > 0
