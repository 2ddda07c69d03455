"""The records that the project keeps, found by name."""

import pytest

from lab_utils.bench import recorded
from lab_utils.bench.results import ResultsError, read_results


def test_a_record_is_found_and_names_its_machine():
    results = read_results(recorded.record_path("ladder-storyworld"))
    assert (
        recorded.where_and_when(results.environment)
        == "AMD EPYC, 2 cores, 2 threads, 25 GB, Linux; 2026-11-25"
    )


def test_what_is_not_there_is_told_in_a_line(monkeypatch, tmp_path):
    with pytest.raises(ResultsError, match=r"no record 'ladder-storyword'; did you mean ladder-storyworld\?"):
        recorded.record_path("ladder-storyword")
    monkeypatch.setattr(recorded, "RECORDS", tmp_path / "none")
    with pytest.raises(ResultsError, match="a folder of the checkout, not of the package"):
        recorded.record_path("ladder-storyworld")
