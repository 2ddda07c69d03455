"""results.json written and read back, the tables, and a report that needs no network."""

import json
import re
from dataclasses import replace

import pytest

from lab_utils.bench import report
from lab_utils.bench.compare import reach_sentences, table_rows
from lab_utils.bench.results import LostRun, ResultsError, from_json, read_results, to_json
from lab_utils.bench.tables import comparison_table, sentence, verdict_table
from lab_utils.bench.verdicts import ladder, verdicts
from lab_utils.show.table import as_text
from tests.bench.made_up_results import arm, results, run, three_seeds
from tests.bench.test_origins import jobs_of

# ---------------------------------------------------------------- results.json


def test_results_survive_json():
    made = three_seeds()
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


def test_nan_is_refused_and_leaves_nothing(tmp_path):
    made = three_seeds()
    with pytest.raises(ValueError):
        report.write_report(replace(made, wall_seconds=float("nan")), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("{", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 99}', "its format is 99; this version reads format 1"),
        ('{"format": 1, "runs": [{}], "arms": {}}', "is damaged"),
    ],
)
def test_bad_results_say_so_in_one_line(tmp_path, text, message, capsys):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(ResultsError, match=message):
        read_results(tmp_path / "results.json")
    assert report.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ["model", "train"])
def test_a_number_that_is_none_is_refused_wherever_it_is(tmp_path, capsys, number, place):
    text = to_json(three_seeds())
    next(iter(text["arms"].values()))[place]["lr"] = 12345.5
    (tmp_path / "results.json").write_text(json.dumps(text).replace("12345.5", number))
    assert report.main([str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"it holds {number}, which is no finite number" in line
    assert not (tmp_path / "report.html").exists()


# ---------------------------------------------------------------- tables


def test_comparison_by_hand():
    text = as_text(comparison_table(table_rows(three_seeds())))
    gpt, kimi, kimi_spread, notes = (text.splitlines()[i] for i in (3, 5, 6, 7))
    assert gpt.split() == [
        *("gpt", "2.00k", "1.00k", "6.00k", "100", "1.00", "40.0", "600"),
        *("4.100", "41.0", "2.050", "4.00k", "(100%)", "40.0"),
    ]
    assert kimi.split()[4:11] == ["50", "2.00", "80.0", "600", "3.100", "31.0", "1.550"]
    assert "3.000..3.200" in kimi_spread
    assert notes == "floor: 0.250 bits per byte; seeds: 3; below a mean: least..greatest over the seeds"


def test_what_was_not_measured_is_a_dash_and_what_was_not_reached_is_said():
    alone = results([run("kimi", 0, {40: 5.0}, peak_memory=None)], [arm("gpt"), arm("kimi")], seeds=1)
    _, kimi = comparison_table(table_rows(alone)).cells
    assert kimi[7] == kimi[11] == ("–",)  # without GPT's end there is no loss to reach
    both = replace(alone, runs=(*alone.runs, run("gpt", 0, {40: 4.0})))
    _, kimi = comparison_table(table_rows(both)).cells
    assert kimi[11] == ("not reached",)
    assert reach_sentences(table_rows(both)) == ["kimi reaches GPT's final loss never"]
    assert "did not come to the end" in reach_sentences(table_rows(alone))[0]


@pytest.mark.parametrize("name", ["gpt", "kimi"])
def test_one_model_alone_is_compared_with_nothing(name, tmp_path):
    made = results([run(name, seed, {20: 6.0, 40: 5.0}) for seed in range(3)], [arm(name)])
    shown = as_text(comparison_table(table_rows(made))) + report.render(made, tmp_path)
    others = {"gpt", "kimi"} - {name}
    assert not any(f"{other} wins" in shown or f"→ {other}" in shown for other in others)
    assert ("vs GPT" in str(comparison_table(table_rows(made)))) == (name == "gpt")
    assert f"<h1>{name} on made-up</h1>" in shown and "was not trained" in shown
    (line,) = reach_sentences(table_rows(made))
    assert "never" not in line and ("was not trained" in line) == (name == "kimi")


def test_a_floor_is_known_before_the_first_evaluation():
    """That of the evaluated windows where there is one, else that of the whole text."""
    stopped = results([run("gpt", 0, {})], seeds=1)
    assert "floor: not known" in str(comparison_table(table_rows(stopped)))
    stopped = replace(stopped, corpus=stopped.corpus | {"floor": 0.248})
    assert "floor: 0.248" in str(comparison_table(table_rows(stopped)))
    begun = replace(stopped, runs=(run("gpt", 0, {20: 6.0}),))
    assert "floor: 0.250" in str(comparison_table(table_rows(begun)))


def test_a_full_ladder_with_three_seeds_fits_120_columns():
    """The widest numbers that the CPU preset gives."""
    names = ("gpt", "kimi-dense", "kimi-mla", "kimi-moe", "kimi-bias", "kimi", "gpt-muon")
    runs = [
        replace(
            run(name, seed, {40: 3.368 + seed / 100}, peak_memory=(1234 + seed) * 10**6),
            points=tuple(
                replace(p, tokens=1_228_800 + 100_000 * i, perplexity=29.02 + seed)
                for i, p in enumerate(run(name, seed, {20: 6.0, 40: 3.368 + seed / 100}).points)
            ),
        )
        for name in names
        for seed in range(3)
    ]
    train = arm("gpt").train | {"steps": 300, "batch_size": 16, "seq_len": 256, "grad_accum": 1}
    sizes = dict(total=1_088_256, body_active=793_344, flops_per_token=7.12e6)
    arms = [arm(name, (0.41,), train=train, **sizes) for name in names]
    text = as_text(comparison_table(table_rows(results(runs, arms))))
    assert max(map(len, text.splitlines())) <= 120


def test_sentences_name_the_loser():
    win = sentence(verdicts(three_seeds())[0])
    assert win == (
        "Equal tokens: kimi wins, gpt loses. The validation loss at the end differs by 1.000 (spread 0.200); "
        "all 3 seeds agree, and the difference exceeds the spread."
    )
    loss = sentence(verdicts(three_seeds(kimi=(5.0, 5.1, 5.2)))[0])
    assert "gpt wins, kimi loses" in loss
    one = replace(three_seeds(), seeds=(0,))
    assert sentence(verdicts(one)[0]) == "Equal tokens: no conclusion: 1 seed, 3 needed."


def test_verdict_table_shows_every_seed():
    row = verdict_table(verdicts(three_seeds())).cells[0]
    assert row == (
        ("Equal tokens",),
        ("gpt → kimi",),
        ("4.100",),
        ("3.100",),
        ("-1.000",),
        ("-1.000 -1.000 -1.000",),
        ("0.200",),
        ("kimi is lower",),
    )
    assert "nothing to compare" in verdict_table(ladder(three_seeds())).caption


# ---------------------------------------------------------------- the report


def test_the_seconds_of_compiling_are_told_where_step_times_are(tmp_path):
    made = three_seeds()
    assert "compiled" not in report.render(made, tmp_path)
    made = replace(made, runs=(replace(made.runs[0], compile_seconds=45.67), *made.runs[1:]))
    assert made == from_json(json.loads(json.dumps(to_json(made))))
    text = report.render(made, tmp_path)
    line = f"{made.runs[0].arm} with seed 0: compiled in 45.7 s, which no other time includes."
    assert text.count("compiled in") == 1 and line in text[text.index("Step times and cache") :]


def test_a_report_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    report.write_report(three_seeds(), tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_text", full)
    assert report.main([str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line == f"report: '{tmp_path}' cannot be read or written: No space left on device\n"


def test_report_loads_nothing_from_elsewhere(tmp_path):
    report.write_report(three_seeds(), tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    images = re.findall(r"<img [^>]*>", html)
    assert images
    assert all(re.match(r'<img alt="[^"]{20,}" src="data:image/png;base64,iVBOR', image) for image in images)


def test_report_says_where_kimi_loses(tmp_path):
    html = report.render(three_seeds(kimi=(5.0, 5.1, 5.2)), tmp_path)
    assert "<b>gpt wins, kimi loses</b>" in html
    assert "<b>kimi wins, gpt loses</b>" not in html


def test_report_concludes_nothing_from_one_seed(tmp_path):
    html = report.render(replace(three_seeds(), seeds=(0,)), tmp_path)
    assert html.count("<b>no conclusion</b>") == 4
    assert " wins, " not in html


def test_report_of_nothing_still_renders(tmp_path):
    html = report.render(results([]), tmp_path)
    assert "<img" not in html and html.count("<b>no conclusion</b>") == 4


def test_report_cries_out_over_different_batches(tmp_path):
    made = three_seeds()
    made = replace(made, runs=(replace(made.runs[0], batch_digest="other"), *made.runs[1:]))
    assert "DIFFERENT batches" in report.render(made, tmp_path)
    assert "DIFFERENT batches" not in report.render(three_seeds(), tmp_path)


def test_report_escapes_what_others_named(tmp_path):
    made = replace(three_seeds(), corpus={"source": "<script>x", "train_tokens": 1, "n_vocab": 2})
    assert "<script" not in report.render(made, tmp_path)


def test_results_json_holds_rows_and_verdicts(tmp_path):
    report.write_report(three_seeds(), tmp_path)
    data = json.loads((tmp_path / "results.json").read_text())
    assert [row["arm"] for row in data["table"]] == ["gpt", "kimi"]
    assert [v["question"] for v in data["verdicts"]] == [
        "Equal tokens",
        "Equal FLOPs",
        "Equal wall clock",
        "Memory",
    ]
    assert read_results(tmp_path / "results.json") == three_seeds()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(seeds=[]), "it has no arms or no seeds"),
        (
            lambda d: d["runs"][0].update(arm="gpd"),
            "runs.0 is of arm 'gpd' with seed 0, which are not among arms",
        ),
        (lambda d: d["runs"][1]["points"].reverse(), "runs.1: its points do not go forward to step 40"),
        (lambda d: d["runs"][0].update(n_steps=39), "runs.0: its points do not go forward to step 39"),
        (
            lambda d: d["runs"][0]["points"][0].update(loss="low"),
            "runs.0.points.0.loss='low' must be a number",
        ),
        (
            lambda d: d["runs"][0]["points"][0].update(loss=True),
            "loss=True must be a number, not a yes or no",
        ),
        (lambda d: d["runs"][0]["points"][0].pop("tokens"), "runs.0.points.0.tokens is missing"),
        (lambda d: d["arms"]["gpt"].update(body_active=0), "arms.gpt.body_active=0 must be 1 or more"),
        (
            lambda d: d["arms"]["gpt"]["train"].update(steps=[1]),
            "arms.gpt.train.steps=[1] must be a whole number",
        ),
        (lambda d: d["arms"]["gpt"].update(name="kimi"), "arms.'gpt' is called 'kimi'"),
        (lambda d: d["environment"].pop("machine"), "environment.machine is missing"),
    ],
)
def test_results_that_contradict_themselves_say_where(change, message):
    data = json.loads(json.dumps(to_json(three_seeds())))
    change(data)
    with pytest.raises(ResultsError) as refused:
        from_json(data)
    assert message in str(refused.value) and "\n" not in str(refused.value)


# ---------------------------------------------------------------- jobs


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
