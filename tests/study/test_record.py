"""A study as a whole: a small one is run, killed, begun again and read; and the table of made-up outcomes."""

import json
import shutil
from dataclasses import replace

import pytest

from lab_utils.bench.place import Local
from lab_utils.bench.results import Point, ResultsError, Run
from lab_utils.study import command, record
from lab_utils.study.plan import make_study
from lab_utils.study.record import best_of_rates, claim_folder, facts_table
from lab_utils.study.trial import OUTCOME, FactsTrial, Outcome
from nanokimi.abilities.knowledge import Knowledge
from nanokimi.config import ConfigError
from nanokimi.text.corpus import load_corpus


def made_up(arm: str, lr: float, loss: float, known: float = 0.5, **more) -> Outcome:
    point = Point(
        step=9, tokens=90, seconds=1.0, loss=loss, perplexity=2.0, bits_per_byte=1.0,
        floor_bits_per_byte=None, by_role=None,
    )  # fmt: skip
    run = Run(
        arm=arm, seed=0, n_steps=9, points=(point,), train_seconds=1.0, wall_seconds=1.0, peak_memory=None,
        start_memory=None, batch_digest="",
    )  # fmt: skip
    found = Knowledge(n_facts=100, known=known, probability=known / 2, bits=300.0, all_bits=500.0)
    plain = {"n_characters": 800, "n_exposures": 30, "seed": 0, "body_active": 200, "body_total": 1200}
    plain |= {"seen": found, "held_out": replace(found, known=0.25)}
    return Outcome(arm=arm, lr=lr, run=run, **plain | more)


def test_the_best_rate_of_each_arm_on_each_text_has_the_lowest_loss():
    gone = made_up("dense", 0.04, 0.5, seen=None, held_out=None)
    outcomes = [
        made_up("dense", 0.01, 2.0, known=0.9),
        made_up("dense", 0.02, 1.0),
        gone,
        made_up("experts", 0.01, 3.0),
    ]
    other = made_up("dense", 0.01, 9.0, n_characters=400)
    assert best_of_rates([*outcomes, other]) == [outcomes[1], outcomes[3], other]


def test_the_table_shows_shares_and_bits_per_parameter():
    """A row is the mean over seeds of the best rate."""
    outcomes = [
        made_up("dense", 0.02, 1.0),
        made_up("dense", 0.01, 9.0),
        made_up("dense", 0.02, 1.0, 0.7, seed=1),
    ]
    rows = [line.split() for line in str(facts_table(outcomes)).splitlines()]
    shares = ["60.0%", "25.0%", "30.0%", "30.0%"]
    assert ["800", "30", "dense", "2", "0.02", *shares, "1.50", "0.25", "1"] in rows


def test_other_seeds_are_trained_at_the_best_rate_only(tmp_path, monkeypatch):
    plan = make_study("facts", "cpu", 3)
    asked = []

    def work_off(jobs, *_):
        asked.append([(trial.cell.arm, trial.cell.lr, trial.arm.train.seed) for trial in jobs.values()])
        losses = {("dense", 0.02): 1.0, ("experts-16", 0.04): 1.0}
        return {
            name: made_up(trial.cell.arm, trial.cell.lr, losses.get((trial.cell.arm, trial.cell.lr), 2.0),
                          n_exposures=150, seed=trial.arm.train.seed)
            for name, trial in jobs.items()
        }  # fmt: skip

    monkeypatch.setattr(record, "work_off", work_off)
    monkeypatch.setattr(record, "open_queue", lambda *_: None)
    text = load_corpus(replace(plan.cells[0].data, n_characters=8, n_exposures=3, cache_dir=str(tmp_path)))
    found = record.run_study(plan, [text], tmp_path, Local(1), print)
    assert len(asked[0]) == 6
    assert asked[1] == [
        ("dense", 0.02, 1),
        ("experts-16", 0.04, 1),
        ("dense", 0.02, 2),
        ("experts-16", 0.04, 2),
    ]
    assert len(found.outcomes) == plan.n_trainings == 10
    assert record.read_study(tmp_path / "results.json") == found.outcomes


def test_what_is_no_record_is_told_in_a_line(tmp_path):
    for text in ("{", "[]", "{}", '{"outcomes": [1]}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(ResultsError, match="is no record of a study"):
            record.read_study(tmp_path / "r.json")


def test_a_folder_holds_one_study(tmp_path):
    smoke = make_study("facts", "smoke")
    claim_folder(smoke, tmp_path / "new")
    claim_folder(smoke, tmp_path / "new")
    with pytest.raises(ConfigError, match="holds a study with other settings; name another folder"):
        claim_folder(make_study("facts", "cpu"), tmp_path / "new")
    (tmp_path / "new" / "study.json").write_text("{")
    with pytest.raises(ConfigError, match="name another folder"):
        claim_folder(smoke, tmp_path / "new")


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> FactsTrial:
    """The second cell of the smoke profile, which has experts, on a smaller text."""
    folder = tmp_path_factory.mktemp("study")
    cell = make_study("facts", "smoke").cells[1]
    cell = replace(
        cell, data=replace(cell.data, n_characters=8, n_exposures=3, cache_dir=str(folder / "cache"))
    )
    return FactsTrial(cell, cell.on(load_corpus(cell.data)), folder)


def test_a_trial_trains_asks_and_is_not_begun_twice(trial, monkeypatch):
    found = trial()
    assert found.run.complete
    assert (found.arm, found.n_characters, found.n_exposures, found.lr) == ("experts-16", 8, 3, 0.02)
    assert (found.seen.n_facts, found.held_out.n_facts) == (96, 96)
    assert 0 < found.seen.probability < 1
    assert found.body_total > 3 * found.body_active
    monkeypatch.setattr(FactsTrial, "_find", None)
    assert trial() == found


def test_a_trial_that_was_killed_while_it_asked_finds_the_same(trial, tmp_path):
    """Its training is over: only the questions are asked again, and the answers are the same."""
    found = trial()
    again = replace(trial, out=tmp_path / "again")
    shutil.copytree(trial.out / "runs", again.out / "runs")
    (file,) = (again.out / "runs").glob(f"*/{OUTCOME}")
    file.unlink()
    assert again() == found


@pytest.mark.slow
def test_the_command_runs_the_smoke_profile_and_records_it(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["--profile=smoke", f"--out={tmp_path / 'out'}"]
    assert command.run(words) == 0
    first = capfd.readouterr().out
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [each["arm"] for each in written["outcomes"]] == ["dense", "experts-16"]
    assert written["preset"]["rates"] == [0.02]
    assert "experts-16" in first
    assert command.run(words) == 0
    assert capfd.readouterr().out == first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--name=fact"], "study 'fact' does not exist"),
        (["--seeds=no"], "'no' must be a whole number"),
        (["--seeds=0"], "seeds=0"),
        (["--where=there"], "'there' must be here, local:N"),
        (["--size=small"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as found:
        command.run(words)
    assert says in str(found.value)
    assert not list(tmp_path.iterdir())
