"""Where numbers come from: the devices of jobs, the number of ranks, and what never came."""

from dataclasses import replace

from lab_utils.bench import report
from lab_utils.bench.origins import origin_sentences
from lab_utils.bench.results import LostRun, read_results
from lab_utils.bench.verdicts import verdicts
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
    made = jobs_of(("abacus, 1 threads",))
    made = replace(made, arms={name: replace(facts, ranks=2) for name, facts in made.arms.items()})
    first, second, *_ = origin_sentences(made)
    assert first.startswith(
        "All numbers are those of 2 ranks: processes that share the micro-batches of each step."
    )
    assert second.endswith("measured in turns on one device, abacus.")  # that of a rank, with its threads


def test_what_never_came_is_named_and_nothing_is_concluded_from_it(tmp_path):
    made = jobs_of()
    lost = LostRun(arm="kimi", seed=1, reason="its <process> was killed")
    runs = tuple(each for each in made.runs if (each.arm, each.seed) != ("kimi", 1))
    arms = {name: replace(facts, step_seconds=()) for name, facts in made.arms.items()}
    made = replace(made, runs=runs, lost=(lost,), arms=arms, untimed="no luck")
    report.write_report(made, tmp_path)
    assert read_results(tmp_path / "results.json") == made
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<li>kimi with seed 1 never came: its &lt;process&gt; was killed. No verdict is drawn" in html
    assert "<li>The step times never came: no luck. No verdict is drawn from time.</li>" in html
    assert {verdict.answer for verdict in verdicts(made)} == {"no conclusion"}


def test_without_step_times_no_verdict_is_drawn_from_time_alone():
    made = three_seeds()
    arms = {name: replace(facts, step_seconds=()) for name, facts in made.arms.items()}
    before = {verdict.question: verdict.answer for verdict in verdicts(made)}
    after = {
        verdict.question: verdict.answer for verdict in verdicts(replace(made, arms=arms, untimed="no luck"))
    }
    changed = {question for question in before if before[question] != after[question]}
    assert "no conclusion" not in before.values() and changed, (before, after)
    assert {after[question] for question in changed} == {"no conclusion"}, (before, after)
    assert len(changed) < len(before)
