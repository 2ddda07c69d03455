"""Where the numbers of a benchmark come from: the devices of jobs, and ranks."""

from dataclasses import replace

from lab_utils.bench.origins import origin_sentences
from tests.bench.made_up_results import three_seeds


def jobs_of(*tries: tuple[str, ...]):
    """Three seeds of both arms; the tries of Kimi's seeds are given, and all else was trained once, on an abacus."""
    made = three_seeds()
    given = dict(enumerate(tries))
    return replace(
        made,
        runs=tuple(
            replace(each, tries=given.get(each.seed, ("abacus",)) if each.arm == "kimi" else ("abacus",))
            for each in made.runs
        ),
    )


def test_the_report_says_which_device_each_number_came_from():
    found = list(origin_sentences(jobs_of(("abacus",), ("slide rule",), ("slide rule", "abacus"))))
    assert found == [
        "Step times, and all times that follow from them: measured in turns on one device, abacus, 2 cores, "
        "2 threads, none.",
        "Losses and peak memory of gpt seed 0, gpt seed 1, gpt seed 2, kimi seed 0, kimi seed 2: abacus.",
        "Losses and peak memory of kimi seed 1: slide rule.",
        "kimi with seed 2 was begun 2 times, also on slide rule, and went on where it was.",
        "Peak memory is compared between different devices here, and losses carry the rounding of each.",
    ]
    assert list(origin_sentences(three_seeds())) == []  # one process, and the report's first lines say where


def test_the_report_says_on_how_many_ranks_the_numbers_were_made():
    made = jobs_of(("abacus, 1 thread",))
    made = replace(made, arms={name: replace(facts, ranks=2) for name, facts in made.arms.items()})
    first, second, *_ = origin_sentences(made)
    assert first.startswith(
        "All numbers are those of 2 ranks: processes that share the micro-batches of each step."
    )
    assert second.endswith("measured in turns on one device, abacus.")  # that of a rank, with its threads
