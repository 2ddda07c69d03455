"""A study as a whole: a small one is run, killed, begun again and read; and the table of made-up outcomes."""

import json
import shutil
from dataclasses import replace

import pytest

from lab_utils.bench.place import Local
from lab_utils.bench.results import ResultsError
from lab_utils.study import command, record
from lab_utils.study.folder import claim_folder
from lab_utils.study.plan import make_study
from lab_utils.study.record import Found, facts_table
from lab_utils.study.trainings import count_by_rule
from lab_utils.study.trial import OUTCOME, FactsTrial
from nanokimi.config import ConfigError
from nanokimi.text.corpus import load_corpus
from tests.study.outcomes import made_up


def test_the_table_shows_shares_and_bits_per_parameter():
    """A row is the mean over seeds of the best rate."""
    outcomes = [
        made_up("dense", 0.02, 1.0),
        made_up("dense", 0.01, 9.0),
        made_up("dense", 0.02, 1.0, 0.7, seed=1),
    ]
    rows = [
        line.split()
        for line in str(
            facts_table(
                Found(
                    outcomes=tuple(outcomes), lost={}, step_seconds={"dense": (0.1, 0.3, 0.2)}, environment={}
                )
            )
        ).splitlines()
    ]
    shares = ["60.0%", "25.0%", "30.0%", "30.0%"]
    assert ["800", "30", "dense", "2", "0.02", *shares, "1.50", "0.25", "200"] in rows


def test_other_seeds_are_trained_at_the_best_rate_only(tmp_path, monkeypatch):
    plan = make_study("facts", "cpu", 3)
    asked = []

    def work_off(jobs, *_):
        asked.append([(trial.cell.arm, trial.cell.lr, trial.arm.train.seed) for trial in jobs.values()])
        losses = {("dense", 0.02): 1.0, ("experts-16", 0.005): 1.0}
        return {
            name: made_up(trial.cell.arm, trial.cell.lr, losses.get((trial.cell.arm, trial.cell.lr), 2.0),
                          n_exposures=150, seed=trial.arm.train.seed)
            for name, trial in jobs.items()
        }  # fmt: skip

    monkeypatch.setattr(record, "work_off", work_off)
    monkeypatch.setattr(record, "open_queue", lambda *_: None)
    monkeypatch.setattr(record, "time_in_turns", lambda arms, *_: {arm.name: (0.5,) for arm in arms})
    text = load_corpus(replace(plan.cells[0].data, n_characters=8, n_exposures=3, cache_dir=str(tmp_path)))
    found = record.run_study(plan, [text], tmp_path, Local(1), print)
    assert len(asked[0]) == 6
    assert sorted(asked[1]) == [
        ("dense", 0.02, 1),
        ("dense", 0.02, 2),
        ("experts-16", 0.005, 1),
        ("experts-16", 0.005, 2),
    ]
    assert len(found.outcomes) == count_by_rule(plan.cells, 2) == 10
    assert record.read_study(tmp_path / "results.json") == found
    assert found.step_seconds == {"dense": (0.5,), "experts-16": (0.5,)}


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
        (["--name=fact"], "study 'fact' does not exist; did you mean facts?"),
        (["--name=cache", "--profile=map"], "profile='map' does not exist"),
        (["--name=muon", "--profile=map"], "profile='map' does not exist"),
        (["--name=cache", "--seeds=0"], "seeds=0"),
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
