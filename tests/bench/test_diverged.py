"""One arm that diverges costs its own row: everything else is trained, timed, shown and concluded as without it."""

import io
import json
import re
import time
from dataclasses import replace

import pytest

from lab_utils.bench import pictures
from lab_utils.bench.compare import table_rows
from lab_utils.bench.plan import Arm, Plan
from lab_utils.bench.report import write_report
from lab_utils.bench.results import collect, read_results, run_folder
from lab_utils.bench.tables import comparison_table, role_table, sentence, verdict_table
from lab_utils.bench.timing import time_in_turns
from lab_utils.bench.trial import Trial
from lab_utils.bench.verdicts import fairness, ladder, optimizer_or_architecture, verdicts
from lab_utils.bench.watch import Expected, Watcher
from nanokimi import checkpoint
from nanokimi.config import DataConfig, OptimConfig
from nanokimi.model import build_model
from nanokimi.record import StepRecord
from nanokimi.train import train
from tests import tiny
from tests.bench.made_up_results import arm, results, run

BECAUSE = "the loss is nan at step 7; the first that is not finite: the output of layers.1.mlp"


def diverged(name: str, seed: int, step: int = 7, **changes):
    """A made-up run that ended before its first evaluation."""
    return run(name, seed, {}, diverged_at=step, diverged_because=BECAUSE, **changes)


def three(*names: str, losses: float = 4.0) -> list:
    return [run(name, seed, {20: 6.0, 40: losses + seed / 100}) for name in names for seed in range(3)]


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


# ---------------------------------------------------------------- made-up results


def test_the_row_says_at_which_step(tmp_path):
    found = results([*three("gpt"), *(diverged("kimi", seed, 7 + seed) for seed in range(3))])
    gpt, kimi = table_rows(found)
    assert gpt.loss.n == 3 and kimi.loss is None and kimi.diverged == (7, 8, 9)
    text = str(comparison_table([gpt, kimi]))
    assert re.search(r"^kimi .* diverged ", text, re.M) and "at step 7..9" in text
    assert "not reached" not in text.split("kimi")[1]
    one = results([*three("gpt", "kimi")[:-1], diverged("kimi", 2)])
    text = str(comparison_table(table_rows(one)))
    assert "1 diverged" in text and "4.005" in text  # the mean of the two that finished
    assert "at step 7" in str(comparison_table(table_rows(results([diverged("gpt", 0)], seeds=1))))


def test_the_other_verdicts_stand_and_the_missing_one_says_why():
    arms = [arm(name) for name in ("gpt", "kimi-dense", "kimi-mla", "kimi-moe", "kimi")]
    runs = three("gpt", "kimi-dense", "kimi-moe", "kimi") + [diverged("kimi-mla", seed) for seed in range(3)]
    found = results(runs, arms)
    rungs = {(verdict.baseline, verdict.challenger): verdict for verdict in ladder(found)}
    assert rungs["gpt", "kimi-dense"].pairs and len(rungs["gpt", "kimi-dense"].pairs) == 3
    for pair in (("kimi-dense", "kimi-mla"), ("kimi-mla", "kimi-moe")):
        assert rungs[pair].answer == "no conclusion"
        assert rungs[pair].reason == "kimi-mla with seed 0 diverged at step 7 (2 more)"
        assert "kimi-mla with seed 0 diverged at step 7" in sentence(rungs[pair])
    assert "no conclusion" in str(verdict_table(ladder(found)))
    assert all(len(verdict.pairs) == 3 and verdict.answer != "no conclusion" for verdict in verdicts(found))
    assert fairness(found).same_batches


@pytest.mark.parametrize("gone", [("gpt",), ("kimi",), ("gpt", "kimi")])
def test_everything_is_written_whichever_arm_is_gone(gone, tmp_path):
    """Also where all are: strict JSON, which reads back equal, and a report that names arm, step and cause."""
    runs = [
        diverged(name, seed) if name in gone else run(name, seed, {20: 6.0, 40: 4.0})
        for name in ("gpt", "kimi")
        for seed in range(3)
    ]
    found = results(runs)
    write_report(found, tmp_path)
    data = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse_constant)
    assert read_results(tmp_path / "results.json") == found
    assert {row["arm"]: row["diverged"] for row in data["table"]} == {
        name: [7, 7, 7] if name in gone else [] for name in ("gpt", "kimi")
    }
    html = (tmp_path / "report.html").read_text()
    for name in gone:
        assert f"{name} with seed 0 diverged: {BECAUSE}. All other arms stand." in html
    assert (pictures.loss_picture(found) is None) == (len(gone) == 2)
    assert all(verdict.answer == "no conclusion" for verdict in verdicts(found)[:3])
    assert role_table(found) is None and optimizer_or_architecture(found) == []


def test_results_of_before_are_still_read(tmp_path):
    write_report(results(three("gpt", "kimi")), tmp_path)
    path = tmp_path / "results.json"
    data = json.loads(path.read_text())
    for each in data["runs"]:
        del each["diverged_at"], each["diverged_because"]
    path.write_text(json.dumps(data))
    assert read_results(path) == results(three("gpt", "kimi"))


# ---------------------------------------------------------------- a real benchmark, tiny


def tiny_plan(**rates: float) -> Plan:
    """GPT, and Kimis with experts, six steps each, at these learning rates."""
    arms = tuple(
        Arm(
            name=name.replace("_", "-"),
            model=tiny.gpt() if name == "gpt" else tiny.kimi(),
            train=replace(tiny.muon_clip(), optim=OptimConfig(lr=lr), eval_every=3),
        )
        for name, lr in rates.items()
    )
    return Plan(profile="smoke", data=DataConfig(), arms=arms, seeds=(0, 1))


def train_all(plan: Plan, out) -> list:
    """The loop of notebook 08."""
    runs = []
    for each in plan.trials():
        model = build_model(each.model, seed=each.train.seed)
        with Trial(each, model, out) as trial:
            for record in train(model, tiny.corpus(annotated=True), each.train, trial.run_dir):
                trial.add(record)
        runs.append(trial.run())
    return runs


def test_a_rate_of_ten_thousand_in_one_arm_costs_that_arm(tmp_path):
    plan, text = tiny_plan(gpt=1e-2, kimi_bias=1e4, kimi=1e-2), tiny.corpus(annotated=True)
    times = time_in_turns(plan.arms, text, rounds=3)
    runs = train_all(plan, tmp_path)
    found = collect(plan, text, runs, times)
    assert {name: len(seconds) for name, seconds in times.items()} == {"gpt": 3, "kimi-bias": 3, "kimi": 3}
    assert [(each.arm, each.complete) for each in runs[:3]] == [
        ("gpt", True),
        ("kimi-bias", False),
        ("kimi", True),
    ]
    wild = runs[1]
    assert wild.diverged_at in range(2, 7) and f"at step {wild.diverged_at}" in wild.diverged_because
    assert found.diverged_at("gpt", 0) is None
    write_report(found, tmp_path)
    json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse_constant)
    assert read_results(tmp_path / "results.json") == found
    without = collect(
        tiny_plan(gpt=1e-2, kimi=1e-2), text, [each for each in runs if each.arm != "kimi-bias"], times
    )
    rows = {row.arm: row for row in table_rows(found)}
    assert [rows[row.arm] for row in table_rows(without)] == table_rows(without)
    assert "diverged" in str(comparison_table(table_rows(found)))
    assert set(pictures.all_pictures(found, tmp_path)) == set(pictures.all_pictures(without, tmp_path))
    assert checkpoint.load_checkpoint(run_folder(tmp_path, "kimi", 0)).state.step == 6


def test_every_arm_may_diverge(tmp_path):
    plan, text = tiny_plan(gpt=1e4, kimi=1e4), tiny.corpus(annotated=True)
    found = collect(plan, text, train_all(plan, tmp_path), time_in_turns(plan.arms, text, rounds=3))
    write_report(found, tmp_path)
    assert not any(each.complete for each in found.runs)
    assert all(row.loss is None and len(row.diverged) == 2 for row in table_rows(found))
    assert [verdict.answer for verdict in verdicts(found)] == ["no conclusion"] * 4


def test_an_arm_whose_first_step_diverges_gets_no_time():
    plan = tiny_plan(gpt=1e-2, kimi=1e35)
    gpt, kimi = plan.arms
    overflowing = replace(kimi.train, optim=replace(kimi.train.optim, weight_decay=1e35), warmup_steps=0)
    times = time_in_turns((gpt, replace(kimi, train=overflowing)), tiny.corpus(), rounds=3)
    assert len(times["gpt"]) == 3 and times["kimi"] == ()


def test_only_a_divergence_is_swallowed(tmp_path):
    plan = tiny_plan(gpt=1e-2)
    with pytest.raises(KeyError), Trial(plan.arms[0], build_model(tiny.gpt()), tmp_path):
        raise KeyError


# ---------------------------------------------------------------- progress


def test_the_watcher_goes_on_after_a_training_that_never_reaches_its_end(tmp_path):
    """The first log ends at step 3 of 6; the second arm's lines are shown while it is still being trained."""
    plan, text = tiny_plan(gpt=1e-2, kimi=1e-2), tiny.corpus()
    folders = [tmp_path / each.name for each in plan.arms]
    stream = io.StringIO()
    expected = [Expected(each.name, folder, 6) for each, folder in zip(plan.arms, folders, strict=True)]
    with Watcher(expected, stream):
        records = train(build_model(tiny.gpt()), text, plan.arms[0].train, folders[0])
        assert isinstance(next(records), StepRecord)
        for _ in train(build_model(tiny.kimi()), text, plan.arms[1].train, folders[1]):
            pass
        deadline = time.monotonic() + 180
        while "kimi: step 6/6" not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "kimi: step 6/6" in stream.getvalue()
